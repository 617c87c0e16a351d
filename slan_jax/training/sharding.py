"""Where every array of a run lives: the mesh, one table, one rule.

The batch is split over both mesh axes. Parameters, and whatever is shaped and
named like them (Adam's moments, the EMA copy), are split over `fsdp` along the
dimension that the next matrix product contracts: XLA then gathers weights or
reduces partial products, whichever moves fewer bytes.
"""

import re
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from slan_jax import axes
from slan_jax.training import config

Tree = Any

# (name of the leaf, dimensions to split in order of preference). Counted from
# the end, so that layers stacked by nn.scan in front change nothing. The last
# part of a path decides; what no row names stays whole on every device.
RULES: tuple[tuple[str, tuple[int, ...]], ...] = (
  (r"kernel$", (-2, -1)),  # [.., in, out]: the product contracts `in`
  (r"word$", (-1, -2)),  # [words, D]: the tied language head contracts D
  (r"position$", (-1,)),  # [places, D]
)

# Smaller tensors cost more in messages than they save in memory.
SMALL_BYTES = 1 << 20


def make_mesh(sizes: config.Mesh, devices: list | None = None):
  """The mesh ("data", "fsdp") over all devices.

  Args:
    sizes: devices per axis; at most one is -1 and takes all that remain. With
      a -1, a single device is a mesh of 1 x 1 whatever the other size.
    devices: the devices to use; None takes every device of the run.

  Returns:
    A `jax.sharding.Mesh` with Auto axes.

  Raises:
    ValueError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  shape = [sizes.data, sizes.fsdp]
  known = 1
  for size in shape:
    known *= size if size != -1 else 1
  if any(size < 1 and size != -1 for size in shape) or shape == [-1, -1]:
    raise ValueError(
      f"mesh.data={sizes.data}, mesh.fsdp={sizes.fsdp}: each must be at least "
      "1, and one of them may be -1 (all devices that remain)"
    )
  if -1 in shape and len(devices) == 1:
    shape = [1, 1]  # so that settings for a slice run on one chip, too
  shape = [len(devices) // known if size == -1 else size for size in shape]
  if shape[0] * shape[1] != len(devices):
    raise ValueError(
      f"mesh.data={sizes.data}, mesh.fsdp={sizes.fsdp} does not fit "
      f"{len(devices)} device(s): the two must multiply to that number"
    )
  # jax.make_mesh splits axes of the torus, 8 x 8 into 2 x 32, on a v5e alone.
  placed = mesh_utils.create_device_mesh(
    shape, devices, allow_split_physical_axes=True
  )
  return jax.sharding.Mesh(placed, axes.BATCH, axis_types=(AxisType.Auto,) * 2)


def check_batch(batch_size: int, mesh: jax.sharding.Mesh) -> None:
  """Raises ValueError when a batch cannot be split evenly over the devices."""
  if batch_size < 1 or batch_size % mesh.size:
    lower = batch_size // mesh.size * mesh.size
    raise ValueError(
      f"batch_size={batch_size} is not divisible by the {mesh.size} devices of "
      f"the mesh {dict(mesh.shape)}; use for example {lower or mesh.size}"
      + (f" or {lower + mesh.size}" if lower else "")
    )


def batch_sharding(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Rows split over every device, the other axes whole."""
  return NamedSharding(mesh, PartitionSpec(axes.BATCH))


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
  """The same array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def parameter_spec(path: str, shape, itemsize: int, fsdp: int) -> PartitionSpec:
  """The FSDP rule for one tensor.

  Args:
    path: its name, parts separated by "/"; the last part picks the row.
    shape: its shape.
    itemsize: bytes per element.
    fsdp: devices along the `fsdp` axis.

  Returns:
    The first dimension of the row that `fsdp` divides is split; a tensor under
    `SMALL_BYTES`, or without such a dimension, is replicated.
  """
  size = itemsize
  for length in shape:
    size *= length
  if fsdp == 1 or size < SMALL_BYTES:
    return PartitionSpec()
  for pattern, dimensions in RULES:
    if re.search(pattern, path):
      for dimension in dimensions:
        if -dimension <= len(shape) and shape[dimension] % fsdp == 0:
          axis = len(shape) + dimension
          return PartitionSpec(*(None,) * axis, axes.FSDP)
  return PartitionSpec()


def parameter_shardings(tree: Tree, mesh: jax.sharding.Mesh) -> Tree:
  """Shardings of parameters, or of any tree named after them."""

  def sharding(path, leaf) -> NamedSharding:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return replicated(mesh)
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    spec = parameter_spec(
      name, leaf.shape, leaf.dtype.itemsize, mesh.shape[axes.FSDP]
    )
    return NamedSharding(mesh, spec)

  return jax.tree_util.tree_map_with_path(sharding, tree)


def carry_shardings(tree: Tree, mesh: jax.sharding.Mesh) -> Tree:
  """Shardings of the carry: queues are split by rows when the rows allow."""

  def sharding(leaf) -> NamedSharding:
    if leaf.size and leaf.ndim and leaf.shape[0] % mesh.size == 0:
      return batch_sharding(mesh)
    return replicated(mesh)

  return jax.tree.map(sharding, tree)
