"""From this process's rows to global arrays on the devices of a mesh.

Which rows a process prepares follows from the mesh: on a torus of TPUs the
devices of one host are not always neighbours in it.
"""

from bisect import bisect_left

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from slan_jax.axes import BATCH

Batch = dict[str, np.ndarray]


def process_rows(batch_size: int, mesh: Mesh) -> tuple[int, ...]:
  """Rows of a global batch that the devices of this process hold, ascending.

  Args:
    batch_size: Rows of the batch over all processes.
    mesh: Has the axes that split a batch.
  """
  sharding = NamedSharding(mesh, PartitionSpec(BATCH))
  slices = sharding.addressable_devices_indices_map((batch_size,)).values()
  return tuple(
    sorted({row for (s,) in slices for row in range(*s.indices(batch_size))})
  )


def global_batch(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
  """Joins the rows of all processes into one array per field.

  Args:
    batch: This process's rows, those of `process_rows`, as a `Loader` yields
      them.
    mesh: Has the axes that split a batch.

  Returns:
    Global arrays split along axis 0. int64 fields become int32, which is what
    JAX computes with.

  Raises:
    ValueError: The global batch is not divisible by the devices that split it,
      or a number is too large for int32.
  """
  sharding = NamedSharding(mesh, PartitionSpec(BATCH))
  devices = int(np.prod([mesh.shape[axis] for axis in BATCH]))
  total = len(next(iter(batch.values()))) * jax.process_count()
  if total % devices:
    raise ValueError(
      f"a batch of {total} rows cannot be split over {devices} devices; "
      "choose a batch_size that is a multiple of them"
    )
  rows, each = process_rows(total, mesh), total // devices
  arrays = {}
  for name, values in batch.items():
    if values.dtype == np.int64:
      values = _int32(name, values)

    def shard(index: tuple[slice, ...], values=values) -> np.ndarray:
      first = bisect_left(rows, index[0].start or 0)
      return values[first : first + each]

    shape = (total, *values.shape[1:])
    arrays[name] = jax.make_array_from_callback(shape, sharding, shard)
  return arrays


def _int32(name: str, rows: np.ndarray) -> np.ndarray:
  limit = np.iinfo(np.int32)
  if rows.size and not limit.min <= rows.min() <= rows.max() <= limit.max:
    raise ValueError(f"{name!r} holds numbers beyond int32: {rows.max()}")
  return rows.astype(np.int32)
