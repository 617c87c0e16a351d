"""Attention, masks, stacked layers, remat and precision."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models import layers


def normal(*shape: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_l2_normalize_and_its_gradient_at_zero():
  unit = layers.l2_normalize(jnp.array([[3.0, 4.0], [0.0, 0.0]]))
  np.testing.assert_allclose(unit, [[0.6, 0.8], [0.0, 0.0]], atol=1e-6)
  slope = jax.grad(lambda x: layers.l2_normalize(x).sum())(jnp.zeros(3))
  assert np.isfinite(slope).all()


def test_masked_softmax_by_hand():
  """Two of three take part; a row of none is zeros, with a finite gradient."""
  logits = jnp.array([[0.0, math.log(3.0), 9.0], [1.0, 2.0, 3.0]])
  mask = jnp.array([[True, True, False], [False] * 3])
  weights = layers.masked_softmax(logits, mask)
  expected = [[0.25, 0.75, 0.0], [0.0, 0.0, 0.0]]
  np.testing.assert_allclose(weights, expected, atol=1e-6)
  slope = jax.grad(lambda x: layers.masked_softmax(x, mask)[0, 0])(logits)
  np.testing.assert_allclose(
    slope, [[0.1875, -0.1875, 0.0], [0, 0, 0]], atol=1e-6
  )


def test_attention_by_loops():
  """Two heads against sums written out, with a mask per query."""
  query, key, value = normal(1, 2, 4), normal(1, 3, 4, seed=1), normal(1, 3, 4)
  mask = np.array([[[True, False, True], [True, True, True]]])
  mixed = layers.attend(query, key, value, mask, heads=2)
  for n in range(2):
    for head in (slice(0, 2), slice(2, 4)):
      seen = np.flatnonzero(mask[0, n])
      scores = [query[0, n, head] @ key[0, m, head] / 2**0.5 for m in seen]
      weights = np.exp(scores) / np.exp(scores).sum()
      expected = weights @ value[0, seen][:, head]
      np.testing.assert_allclose(mixed[0, n, head], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3)])
def test_attending_to_nothing_gives_zeros(shape: tuple[int, ...]):
  """Also with biases, which would otherwise leak; gradients stay finite."""
  module = layers.MultiHeadAttention(8, 2, jnp.float32)
  x, states = normal(2, 4, 8), normal(2, 3, 8, seed=1)
  mask = np.ones(shape, bool)
  mask[1] = False
  params = jax.jit(module.init)(jax.random.key(0), x, states, states, mask)
  params = jax.tree.map(lambda a: np.asarray(a) + 0.1, params)

  def loss(p):
    y = module.apply(p, x, states, states, mask)
    return jnp.square(y).sum(), y

  slopes, y = jax.jit(jax.grad(loss, has_aux=True))(params)
  assert np.abs(y[0]).min() > 0
  np.testing.assert_array_equal(y[1], np.zeros((4, 8)))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_width_that_heads_do_not_divide():
  module = layers.MultiHeadAttention(8, 3, jnp.float32)
  with pytest.raises(ValueError, match="8 is not a multiple of 3 heads"):
    module.init(jax.random.key(0), *[normal(1, 2, 8)] * 3)


class Toy(nn.Module):
  """A layer to stack: reads a scanned and a shared argument."""

  dtype: layers.Dtype = jnp.float32

  @nn.compact
  def __call__(self, x, own, shared):
    norm = layers.layer_norm(1e-6, self.dtype, "norm")
    attention = layers.MultiHeadAttention(8, 2, self.dtype, name="attention")
    mlp = layers.Mlp(16, layers.gelu, self.dtype, name="mlp")
    y = norm(x)
    x = x + attention(y, y, y, shared) + own
    return x + mlp(x), jnp.sum(x, dtype=jnp.float32)


def stacked(policy: str, dtype=jnp.float32):
  axes = 0, nn.broadcast
  return layers.stack(Toy, 3, policy, in_axes=axes)(dtype)


INPUTS = normal(2, 4, 8), normal(3, 2, 4, 8, seed=2), np.ones((2, 4), bool)


@functools.cache
def initial():
  return jax.jit(stacked("none").init)(jax.random.key(0), *INPUTS)


def test_stack_equals_layers_one_by_one():
  """The scan is the loop over slices of its parameters."""
  params = initial()["params"]
  assert params["mlp"]["up"]["kernel"].shape == (3, 8, 16)
  first, second = params["mlp"]["up"]["kernel"][:2]
  assert np.abs(first - second).max() > 0.1  # each layer has its own start
  y, sums = jax.jit(stacked("none").apply)({"params": params}, *INPUTS)
  x = INPUTS[0]
  apply = jax.jit(Toy().apply)
  for i in range(3):
    own = jax.tree.map(lambda a, i=i: a[i], params)
    x, total = apply({"params": own}, x, INPUTS[1][i], INPUTS[2])
    np.testing.assert_allclose(sums[i], total, rtol=1e-5)
  np.testing.assert_allclose(y, x, atol=1e-5)


def test_remat_changes_neither_values_nor_gradients():
  params = initial()

  def loss(p, policy: str):
    return jnp.square(stacked(policy).apply(p, *INPUTS)[0]).sum()

  compiled = jax.jit(jax.value_and_grad(loss), static_argnums=1)
  plain = compiled(params, "none")

  # Sums in another order: small entries carry the error of the large ones.
  largest = max(float(np.abs(x).max()) for x in jax.tree.leaves(plain))
  for policy in ("dots", "full"):
    for a, b in zip(
      jax.tree.leaves(plain), jax.tree.leaves(compiled(params, policy))
    ):
      np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * largest)
