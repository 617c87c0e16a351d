"""Files that are written whole or not at all, and named when damaged."""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from etils import epath


def write_atomically(path: Path, content: bytes) -> None:
  """Writes a file whole or not at all, also when the process is killed.

  Args:
    path: the file, also in a bucket (gs://...), where a write is always
      whole; its directory is made when missing.
    content: its bytes.
  """
  if "://" in str(path):
    epath.Path(path).write_bytes(content)
    return
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
  try:
    with os.fdopen(handle, "wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.chmod(name, 0o644)
    os.replace(name, path)
  except BaseException:
    os.unlink(name)
    raise


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
  """Saves named arrays as a compressed npz, atomically."""
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  write_atomically(path, buffer.getvalue())


def load_arrays(path: Path, axes: dict[str, int]) -> dict[str, np.ndarray]:
  """Loads what `save_arrays` wrote.

  Args:
    path: the file.
    axes: the names it must hold, each with its number of axes.

  Returns:
    Its arrays.

  Raises:
    ValueError: damaged, or other arrays; the message names the file.
  """
  try:
    with np.load(io.BytesIO(epath.Path(path).read_bytes())) as file:
      arrays = dict(file)
  except (zipfile.BadZipFile, EOFError, ValueError) as error:
    raise ValueError(
      f"{path}: damaged ({error}); delete it and write it again"
    ) from error
  check_arrays(arrays, axes, str(path))
  return arrays


def check_arrays(
  arrays: dict[str, np.ndarray], axes: dict[str, int], name: str
) -> None:
  """Raises ValueError unless exactly these names have these axes."""
  if set(arrays) != set(axes):
    raise ValueError(
      f"{name}: expected the arrays {', '.join(axes)}; missing: "
      f"{sorted(set(axes) - set(arrays))}, unknown: "
      f"{sorted(set(arrays) - set(axes))}"
    )
  for key, count in axes.items():
    if np.ndim(arrays[key]) != count:
      raise ValueError(
        f"{name}: {key} needs {count} axes, got shape {np.shape(arrays[key])}"
      )
