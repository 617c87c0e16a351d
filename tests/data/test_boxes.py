import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.boxes import clean_box, fractions


def test_pixels_become_fractions():
  made = fractions([10, 15, 20, 15], (40, 30))
  np.testing.assert_allclose(made, [0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize(
  ("box", "size"),
  [
    ([1, 2, 3], (4, 4)),
    (None, (4, 4)),
    ([1, 2, 3, "x"], (4, 4)),
    ([1, 2, 3, 4], (0, 4)),
    ([1, 2, 3, 4], (None, 4)),
    ([1, 2, 3, 10**400], (4, 4)),
  ],
)
def test_what_is_no_box_is_nan(box, size):
  assert np.isnan(fractions(box, size)).all()


@pytest.mark.parametrize(
  ("box", "kept", "note"),
  [
    ([0, 0.25, 1, 0.5], [0, 0.25, 1, 0.5], None),
    ([0, 0, 1.004, 1], [0, 0, 1, 1], None),
    ([-1, 0.5, 0.5, 3], [0, 0.5, 0.5, 1], "box: clipped to the picture"),
    ([0.75, 0.5, 0.25, 0.0], [0.25, 0, 0.75, 0.5], "box: corners swapped"),
    ([0.5, 0.5, 0.5, 1], None, "box: dropped, empty or outside"),
    ([1.5, 0, 2, 1], None, "box: dropped, empty or outside"),
    ([0, 0, np.nan, 1], None, "box: dropped, not four numbers"),
    ([0, 0, np.inf, 1], None, "box: dropped, not four numbers"),
    ([0, 0, 1], None, "box: dropped, not four numbers"),
    ("box", None, "box: dropped, not four numbers"),
  ],
)
def test_what_becomes_of_a_box(box, kept, note):
  made, said = clean_box(box)
  assert said == note
  if kept is None:
    assert made is None
  else:
    np.testing.assert_allclose(made, kept)


@given(st.lists(st.floats(allow_nan=True), min_size=4, max_size=4))
def test_a_kept_box_lies_in_the_picture(box):
  made, _ = clean_box(box)
  if made is not None:
    assert made.dtype == np.float32
    assert (made >= 0).all() and (made <= 1).all()
    assert (made[2:] > made[:2]).all()
    again, note = clean_box(made)
    assert note is None and (again == made).all()
