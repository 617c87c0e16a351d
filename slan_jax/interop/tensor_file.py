"""A safetensors file written piece by piece, so that no second copy of a model
ever stands in memory. The format is the library's, which reads it back."""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

DTYPES = {
  "float32": np.float32,
  "bfloat16": ml_dtypes.bfloat16,
  "float16": np.float16,
}
_CODES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}

Shape = tuple[int, ...]


def write_tensors(
  path: Path,
  shapes: Mapping[str, Shape],
  dtype: str,
  pieces: Iterable[Mapping[str, np.ndarray]],
) -> None:
  """Writes each array at its place as it comes.

  Args:
    path: of the file; replaced if it exists.
    shapes: name -> shape of every array.
    dtype: of all arrays, key of `DTYPES`.
    pieces: name -> array of that type, some at a time, in any order.

  Raises:
    ValueError: an array is missing, unknown, given twice or misshaped.
  """
  header, places = _header(shapes, dtype)
  left = set(shapes)
  with open(path, "wb") as file:
    file.write(header)
    for piece in pieces:
      for name, array in piece.items():
        if name not in left or array.shape != tuple(shapes[name]):
          raise ValueError(f"{path}: {name} {array.shape} has no place in it")
        if array.dtype != DTYPES[dtype]:
          raise ValueError(f"{path}: {name} is {array.dtype}, not {dtype}")
        left.remove(name)
        file.seek(len(header) + places[name])
        # As bytes: the buffer protocol knows no bfloat16.
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
  if left:
    raise ValueError(f"{path}: no values for {', '.join(sorted(left)[:8])}")


def _header(
  shapes: Mapping[str, Shape], dtype: str
) -> tuple[bytes, dict[str, int]]:
  """Length, JSON and padding; and where each array begins behind them."""
  width, end = np.dtype(DTYPES[dtype]).itemsize, 0
  entries: dict[str, dict] = {"__metadata__": {"format": "pt"}}
  places = {}
  for name, shape in shapes.items():
    places[name], end = end, end + width * math.prod(shape)
    entries[name] = {
      "dtype": _CODES[dtype],
      "shape": list(shape),
      "data_offsets": [places[name], end],
    }
  text = json.dumps(entries, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)
  return struct.pack("<Q", len(text)) + text, places
