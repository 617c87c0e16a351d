"""Encoding a batch in parts, with the gradient of the whole."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch


def microbatched(
  function: Callable, parts: int, *, recompute: bool = False
) -> Callable:
  """Runs a row-wise function part by part and keeps only its outputs.

  The contrastive loss needs all embeddings of the batch at once, so summing
  the gradients of parts would be wrong. Here only the encoders run in parts,
  each recomputed in the backward pass: exact, at the memory of one part. What
  all parts share, the parameters, gets the sum of its gradients in float32
  whatever type it has.

  Args:
    function: maps pytrees whose leaves lead with the batch axis to such a
      pytree, row by row.
    parts: number of parts; must divide the batch.
    recompute: a single part keeps only its outputs as well.

  Returns:
    A function of the same signature.
  """
  if parts == 1:
    return jax.checkpoint(function) if recompute else function

  def run(*arguments):
    # Every parts-th row makes a part: of the rows that a device holds, each
    # part has its share, and no row moves to another device.
    def split(array: jax.Array) -> jax.Array:
      return array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)

    def join(array: jax.Array) -> jax.Array:
      return array.swapaxes(0, 1).reshape(-1, *array.shape[2:])

    cut = constrain_batch(jax.tree.map(split, arguments), axis=1)
    first = jax.tree.map(lambda array: array[0], cut)
    part, shared = jax.closure_convert(lambda rows: function(*rows), first)
    sums = [_float32_sum(array) for array in shared]
    shared = jax.lax.stop_gradient(shared)

    def recomputed(rows):
      return part(rows, *map(_add_gradient, shared, sums))

    out = jax.lax.map(jax.checkpoint(recomputed), cut)
    return jax.tree.map(join, out)

  return run


# The loop adds gradients up in the type of what they belong to: of a copy in
# bfloat16, each addition would round. So the copy is held fixed, and the
# gradient goes to a float32 array beside it, whose values nothing reads.


def _float32_sum(array: jax.Array) -> jax.Array:
  @jax.custom_vjp
  def start(array: jax.Array) -> jax.Array:
    return jnp.zeros(array.shape, jnp.float32)

  start.defvjp(
    lambda array: (start(array), None),
    lambda _, gradient: (gradient.astype(array.dtype),),
  )
  return start(array)


@jax.custom_vjp
def _add_gradient(array: jax.Array, _: jax.Array) -> jax.Array:
  return array


_add_gradient.defvjp(
  lambda array, _: (array, None),
  lambda _, gradient: (None, gradient.astype(jnp.float32)),
)


def check_parts(batch_size: int, parts: int) -> None:
  """Raises ValueError unless `parts` microbatches make up a batch."""
  if batch_size % parts:
    raise ValueError(
      f"microbatches={parts} does not divide batch_size={batch_size}"
    )
