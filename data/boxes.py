"""Boxes: from pixels to fractions, and which of them are kept."""

import math
from typing import Any

import numpy as np

_NOTHING = (math.nan,) * 4
_TOLERANCE = 0.005  # of the side: rounding by the annotators, not worth a note


def fractions(
  corner_and_extent: Any, size: tuple[int, int]
) -> tuple[float, float, float, float]:
  """xyxy as fractions of a picture, from [x, y, width, height] in pixels.

  Args:
    corner_and_extent: Four numbers, from an untrusted file.
    size: Width and height of the picture in pixels.

  Returns:
    Four numbers, NaN where there was none; nothing is clipped.
  """
  try:
    x, y, w, h = (float(number) for number in corner_and_extent)
    width, height = (float(side) for side in size)
  except (TypeError, ValueError, OverflowError):
    return _NOTHING
  if not (width > 0 and height > 0):
    return _NOTHING
  return x / width, y / height, (x + w) / width, (y + h) / height


def clean_box(box: Any) -> tuple[np.ndarray | None, str | None]:
  """A box inside the picture, or None, and what was done to it.

  Args:
    box: xyxy as fractions of the picture, [4].

  Returns:
    [4] float32 with x0 < x1 and y0 < y1 in [0, 1], or None when there is no
    such box; and the repair or the reason.
  """
  # Plain numbers: for four of them numpy takes ten times as long.
  try:
    x0, y0, x1, y1 = (float(number) for number in box)
  except (TypeError, ValueError, OverflowError):
    return None, "box: dropped, not four numbers"
  if not all(map(math.isfinite, (x0, y0, x1, y1))):
    return None, "box: dropped, not four numbers"
  ordered = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
  inside = [min(max(number, 0.0), 1.0) for number in ordered]
  clipped = np.array(inside, np.float32)
  if not (clipped[2] > clipped[0] and clipped[3] > clipped[1]):
    return None, "box: dropped, empty or outside"
  if ordered != (x0, y0, x1, y1):
    return clipped, "box: corners swapped"
  if max(abs(a - b) for a, b in zip(inside, ordered)) > _TOLERANCE:
    return clipped, "box: clipped to the picture"
  return clipped, None
