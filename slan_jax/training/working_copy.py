"""The parameters as one step computes with them: cast once, gathered once.

Split parameters have to be whole where a product uses them. Left to the
compiler, each use gathers them anew: both passes through the text encoder, the
backward pass, every microbatch. A copy that is gathered when the step begins is
read by all of them, and its gradient is reduced onto the split parameters.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

Tree = Any


def make_copy(like: Tree, *, dtype: str, gather: str) -> Callable[[Tree], Tree]:
  """How a step makes its copy of the parameters.

  Only parameters that are split are touched: large matrices and kernels, which
  every layer casts to its own type anyhow.

  Args:
    like: shapes and shardings of the parameters.
    dtype: type of the copy, the model's `compute_dtype`.
    gather: "step" = once, when the step begins; "layer" = as the compiler
      sees fit, so that no device need hold a whole copy.

  Returns:
    Parameters -> their copy; its gradient has their types and shardings.

  Raises:
    ValueError: unknown `gather`.
  """
  if gather not in ("step", "layer"):
    raise ValueError(f'mesh.gather: {gather!r}; choose "step" or "layer"')
  if gather == "layer":
    return lambda params: params
  places = jax.tree.map(lambda leaf: leaf.sharding, like)

  def copy(params: Tree) -> Tree:
    return jax.tree.map(functools.partial(_copied, dtype), params, places)

  return copy


def _copied(dtype: str, array: jax.Array, place: NamedSharding) -> jax.Array:
  if not any(place.spec):
    return array
  own = array.dtype

  @jax.custom_vjp
  def gathered(array: jax.Array) -> jax.Array:
    # Cast before it travels.
    part = jax.lax.with_sharding_constraint(array.astype(dtype), place)
    return jax.lax.with_sharding_constraint(part, whole)

  def forward(array: jax.Array) -> tuple[jax.Array, None]:
    return gathered(array), None

  def backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    part = jax.lax.with_sharding_constraint(gradient, place)
    return (part.astype(own),)

  whole = NamedSharding(place.mesh, PartitionSpec())
  gathered.defvjp(forward, backward)
  return gathered(array)
