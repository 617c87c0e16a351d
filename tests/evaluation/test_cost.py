"""Operations of small programs, counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation.cost import count_flops, count_flops_by


def flops(function, *shapes) -> float:
  arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
  return count_flops(jax.make_jaxpr(function)(*arrays))


def test_matrix_products():
  assert flops(jnp.matmul, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
  einsum = lambda a, b: jnp.einsum("bij,bjk->bik", a, b)  # noqa: E731
  assert flops(einsum, (4, 3, 5), (4, 5, 7)) == 4 * 2 * 3 * 5 * 7
  assert flops(lambda a: a * a + jnp.sum(a), (9, 9)) == 0


def test_gradient_costs_two_more_products():
  def loss(weights, inputs):
    return jnp.sum(jnp.tanh(inputs @ weights))

  forward = 2 * 16 * 8 * 4
  assert flops(loss, (8, 4), (16, 8)) == forward
  assert flops(jax.grad(loss, argnums=(0, 1)), (8, 4), (16, 8)) == 3 * forward


def test_scan_multiplies_by_its_length():
  def run(weights, state):
    return jax.lax.scan(lambda s, w: (jnp.tanh(s @ w), None), state, weights)[0]

  assert flops(run, (6, 8, 8), (3, 8)) == 6 * 2 * 3 * 8 * 8


def test_recomputation_is_counted():
  def loss(weights, inputs):
    hidden = jax.checkpoint(lambda w, x: jnp.tanh(jnp.tanh(x @ w) @ w))
    return jnp.sum(hidden(weights, inputs))

  product = 2 * 16 * 8 * 8
  plain = flops(loss, (8, 8), (16, 8))
  assert plain == 2 * product
  assert flops(jax.grad(loss), (8, 8), (16, 8)) >= 3 * product + plain


def test_conditional_counts_its_dearest_branch():
  def run(index, a, b):
    products = [lambda a, b: a @ b, lambda a, b: a @ b @ b, lambda a, b: a]
    return jax.lax.switch(index.astype(int), products, a, b)

  assert flops(run, (), (4, 4), (4, 4)) == 2 * 2 * 4**3


@pytest.mark.parametrize("stride, groups", [(1, 1), (2, 1), (1, 2)])
def test_convolutions(stride, groups):
  def convolve(image, kernel):
    return jax.lax.conv_general_dilated(
      image,
      kernel,
      (stride, stride),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=groups,
    )

  shapes = ((2, 8, 8, 6), (3, 3, 6 // groups, 10))
  outputs = 2 * (8 // stride) ** 2 * 10
  forward = 2 * outputs * 9 * 6 // groups
  assert flops(convolve, *shapes) == forward

  def gradient(image, kernel):
    return jax.grad(lambda *a: jnp.sum(jnp.sin(convolve(*a))), (0, 1))(
      image, kernel
    )

  # The gradients of image and kernel each cost the forward pass again.
  assert flops(gradient, *shapes) == 3 * forward


def test_jit_and_custom_rules_are_looked_into():
  @jax.custom_vjp
  def product(a, b):
    return jax.jit(jnp.matmul)(a, b)

  product.defvjp(
    lambda a, b: (a @ b, (a, b)), lambda r, g: (g @ r[1].T, r[0].T @ g)
  )
  assert flops(product, (4, 4), (4, 4)) == 2 * 4**3


def test_scopes_tell_parts_apart():
  def run(a):
    with jax.named_scope("outer"), jax.named_scope("eye"):
      a = a @ a
    with jax.named_scope("ear"):
      a = jax.jit(lambda a: jax.lax.cond(a[0, 0] > 0, jnp.dot, jnp.add, a, a))(
        a
      )

    def body(a, _):
      with jax.named_scope("eye"):
        b = a @ a
      return a @ b, None

    return jax.lax.scan(body, a, None, 5)[0]

  jaxpr = jax.make_jaxpr(run)(jax.ShapeDtypeStruct((4, 4), np.float32))
  one = 2 * 4**3
  parts = {"eye": "sees", "ear": "hears"}
  found = count_flops_by(jaxpr, parts, "rest")
  assert found == {"sees": 6 * one, "hears": one, "rest": 5 * one}
  assert sum(found.values()) == count_flops(jaxpr)
