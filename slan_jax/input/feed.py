"""From this process's rows to global arrays on the devices of a mesh."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from slan_jax.axes import BATCH

Batch = dict[str, np.ndarray]


def global_batch(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
  """Joins the rows of all processes into one array per field.

  Args:
    batch: This process's rows, as a `Loader` yields them; the processes' rows
      follow each other along axis 0.
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
  arrays = {}
  for name, rows in batch.items():
    total = len(rows) * jax.process_count()
    if total % devices:
      raise ValueError(
        f"a batch of {total} rows cannot be split over {devices} devices; "
        "choose a batch_size that is a multiple of them"
      )
    if rows.dtype == np.int64:
      rows = _int32(name, rows)
    arrays[name] = jax.make_array_from_process_local_data(sharding, rows)
  return arrays


def _int32(name: str, rows: np.ndarray) -> np.ndarray:
  limit = np.iinfo(np.int32)
  if rows.size and not limit.min <= rows.min() <= rows.max() <= limit.max:
    raise ValueError(f"{name!r} holds numbers beyond int32: {rows.max()}")
  return rows.astype(np.int32)
