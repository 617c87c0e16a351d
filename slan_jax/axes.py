"""Names of the mesh axes, and the one constraint that models need."""

import jax
from jax.sharding import PartitionSpec

DATA = "data"
FSDP = "fsdp"
BATCH = (DATA, FSDP)  # the batch is split over both axes


def constrain_batch(tree, *, axis: int = 0):
  """Splits one axis of every array over the mesh; without a mesh, nothing.

  Args:
    tree: pytree of arrays whose `axis` counts examples of the global batch.
    axis: which axis that is.

  Returns:
    The same tree under a sharding constraint.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return tree
  spec = PartitionSpec(*(None,) * axis, BATCH)

  def constrain(array: jax.Array) -> jax.Array:
    if array.shape[axis] % mesh.size:
      return array
    return jax.lax.with_sharding_constraint(array, spec)

  return jax.tree.map(constrain, tree)
