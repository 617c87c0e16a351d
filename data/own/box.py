"""A box as people write it: x1, y1, x2, y2 in pixels. Nothing is guessed."""

import math
from collections.abc import Sequence
from typing import Any

NOT_NUMBERS = "box: dropped, not four numbers x1, y1, x2, y2"
FRACTIONS = "box: dropped, looks like fractions, expected pixels"
REVERSED = "box: dropped, ends before it begins, expected x1, y1, x2, y2"
EMPTY = "box: dropped, no area"


def read_box(value: Any) -> tuple[float, ...] | str:
  """A box that somebody wrote.

  Args:
    value: Should be [x1, y1, x2, y2] in pixels of the upright picture,
      measured from its upper left corner.

  Returns:
    The four numbers, or the reason why the box is left out.
  """
  if not isinstance(value, Sequence) or len(value) != 4:
    return NOT_NUMBERS
  if any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
    return NOT_NUMBERS
  x1, y1, x2, y2 = box = tuple(float(v) for v in value)
  if not all(math.isfinite(v) for v in box):
    return NOT_NUMBERS
  if x2 < x1 or y2 < y1:
    return REVERSED
  if x2 == x1 or y2 == y1:
    return EMPTY
  if all(0 <= v <= 1 for v in box):
    return FRACTIONS  # in pixels it would be at most the very first one
  return box
