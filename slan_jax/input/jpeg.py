"""JPEG by libjpeg-turbo: at a reduced scale, and no further than needed.

Most of the time goes into the entropy code, which can only be read from the
top. A file that claims fewer rows than it has is read down to there, so a crop
does not pay for what lies below it.
"""

import numpy as np
import simplejpeg

_MARGIN = 16  # rows below the last one wanted: colours are interpolated
_START_OF_SCAN = 0xDA
_SEQUENTIAL = (0xC0, 0xC1)  # frames whose rows follow each other in the file


def is_jpeg(data: bytes) -> bool:
  """Whether a file begins as a JPEG does."""
  return data[:2] == b"\xff\xd8"


def read_size(data: bytes) -> tuple[int, int]:
  """Width and height in pixels, from the header.

  Raises:
    ValueError: The header cannot be read.
  """
  height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
  return width, height


def decode(
  data: bytes, *, reduction: int = 1, rows: int | None = None
) -> np.ndarray:
  """Decodes a JPEG.

  Args:
    data: The file, whole.
    reduction: 1, 2, 4 or 8: the scale is one over it.
    rows: Rows of the full picture that are wanted, from the top; what lies
      below may be missing from the result. None = all.

  Returns:
    [h, w, 3] uint8 RGB, in stored orientation; sides are rounded up.

  Raises:
    ValueError: It cannot be decoded to RGB.
  """
  width, height = read_size(data)
  if rows is not None and rows + _MARGIN < height:
    place = _find_height(data)
    if place is not None:
      height = rows + _MARGIN
      patched = bytearray(data)
      patched[place : place + 2] = height.to_bytes(2, "big")
      data = patched
  return simplejpeg.decode_jpeg(
    data,
    min_height=-(-height // reduction),
    min_width=-(-width // reduction),
    strict=False,  # browsers show files with small faults, and so do we
  )


def _find_height(data: bytes) -> int | None:
  """Offset of the number of rows, or None where rows are not in sequence."""
  place = 2
  while place + 9 < len(data) and data[place] == 0xFF:
    marker = data[place + 1]
    if marker in _SEQUENTIAL:
      return place + 5
    if marker == _START_OF_SCAN:
      return None
    # Any marker may be preceded by fill bytes, which have no length.
    length = int.from_bytes(data[place + 2 : place + 4], "big")
    place += 1 if marker == 0xFF else 2 + length
  return None
