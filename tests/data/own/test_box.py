import math

import pytest

from data.own import box


def test_pixels_are_taken_as_they_are():
  assert box.read_box([0, 0, 1, 2]) == (0, 0, 1, 2)
  assert box.read_box((-3, 2.5, 900, 4)) == (-3, 2.5, 900, 4)


@pytest.mark.parametrize(
  "value, reason",
  [
    ([0.1, 0.2, 0.5, 1.0], box.FRACTIONS),
    ([0, 0, 1, 1], box.FRACTIONS),
    ([30, 0, 10, 9], box.REVERSED),
    ([0.9, 0.5, 0.2, 0.2], box.REVERSED),
    ([3, 4, 3, 9], box.EMPTY),
    ([0, 0, 0, 0], box.EMPTY),
    ([math.nan, 0, 5, 5], box.NOT_NUMBERS),
    ([0, 0, 5, math.inf], box.NOT_NUMBERS),
    ([0, 0, 5], box.NOT_NUMBERS),
    (["0", 0, 5, 5], box.NOT_NUMBERS),
    ([True, 0, 5, 5], box.NOT_NUMBERS),
    ({"x": 1}, box.NOT_NUMBERS),
    (None, box.NOT_NUMBERS),
  ],
)
def test_what_is_not_a_box_is_named(value, reason):
  assert box.read_box(value) == reason
