import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.tasks.microbatch import microbatched


def test_parts_give_the_gradient_of_the_whole():
  weights = jax.random.normal(jax.random.key(0), (3, 5))
  rows = jax.random.normal(jax.random.key(1), (8, 3))

  def contrast(weights, parts):
    def encode(rows):
      return {"embedding": jnp.tanh(rows @ weights)}

    embedding = microbatched(encode, parts)(rows)["embedding"]
    # Every row meets every other, as in the contrastive loss.
    return jax.nn.logsumexp(embedding @ embedding.T)

  whole, gradient = jax.value_and_grad(contrast)(weights, 1)
  for parts in (2, 4, 8):
    value, other = jax.value_and_grad(contrast)(weights, parts)
    np.testing.assert_allclose(value, whole, rtol=1e-6)
    np.testing.assert_allclose(other, gradient, rtol=1e-5, atol=1e-6)


def test_gradients_of_parts_are_summed_in_float32():
  """Of a bfloat16 copy: rounded once, at the end, not with each part."""
  parts = 64
  rows = jax.random.uniform(jax.random.key(0), (parts, 3), jnp.float32, 1, 2)
  weights = jnp.ones((3, 5), jnp.bfloat16)

  def total(weights):
    def encode(rows):
      return rows.astype(weights.dtype) @ weights

    return jnp.sum(microbatched(encode, parts)(rows).astype(jnp.float32))

  found = jax.grad(total)(weights)
  assert found.dtype == jnp.bfloat16
  summed = np.sum(rows.astype(jnp.bfloat16), axis=0, dtype=np.float32)
  expected = np.broadcast_to(summed[:, None], (3, 5)).astype(jnp.bfloat16)
  np.testing.assert_array_equal(found, expected)
