import random

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slan_jax.input import crop, image
from slan_jax.input.errors import BadRecord
from tests.input.prepared import photograph


def rng(seed=0):
  return random.Random(seed)


def textured(width, height):
  """Smooth shapes under fine grain, as photographs are."""
  generator = np.random.default_rng(1)
  coarse = generator.integers(0, 255, (7, 7, 3), np.uint8)
  shapes = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
  grain = cv2.GaussianBlur(generator.normal(0, 60, shapes.shape), (0, 0), 1.2)
  return np.clip(shapes + grain, 0, 255).astype(np.uint8)


def jpeg(pixels):
  return cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()


def cropped(data, size, side, scale, seed=0, *, reduced=True):
  return crop.decode_crop(data, size, side, scale, rng(seed), reduced=reduced)


@given(
  st.integers(8, 300),
  st.integers(8, 300),
  st.floats(0.05, 1.0),
  st.integers(0, 2**31),
)
def test_crops_lie_within_the_picture(width, height, least, seed):
  scale = (least, 1.0)
  left, top, w, h = crop.crop_window((width, height), scale, rng(seed))
  assert left >= 0 and top >= 0 and w > 0 and h > 0
  assert left + w <= width and top + h <= height


def test_crops_cover_the_areas_and_proportions_asked_for():
  generator = rng()
  crops = [
    crop.crop_window((400, 400), (0.2, 0.8), generator) for _ in range(300)
  ]
  areas = np.array([w * h for _, _, w, h in crops]) / 400**2
  ratios = np.array([w / h for _, _, w, h in crops])
  assert 0.18 < areas.min() < 0.25 and 0.7 < areas.max() < 0.82
  assert abs(areas.mean() - 0.5) < 0.05
  assert ratios.min() > 0.74 and ratios.max() < 1.35
  assert abs(np.log(ratios).mean()) < 0.04


def test_the_whole_picture_is_kept_when_asked_for():
  assert crop.crop_window((50, 30), (1.0, 1.0), rng()) == (0, 0, 50, 30)
  data = photograph(12, 12)
  whole = cropped(data, (12, 12), 12, (1.0, 1.0))
  np.testing.assert_array_equal(whole, image.decode(data))


def test_an_extreme_picture_still_gives_a_crop():
  left, _, w, h = crop.crop_window((1000, 10), (0.9, 1.0), rng())
  assert (w, h) == (13, 10) and left == (1000 - 13) // 2


@pytest.mark.parametrize("side", [120, 60, 30])
def test_reduced_decoding_differs_little_from_full_decoding(side):
  """At 1/2, 1/4 and 1/8: nearly the pixels of the window that it covers."""
  data, scale = jpeg(textured(640, 480)), (0.6, 0.9)
  fast = cropped(data, (640, 480), side, scale, 3).astype(int)
  slow = cropped(data, (640, 480), side, scale, 3, reduced=False)
  assert (fast != slow).any()  # the key has an effect
  # Windows begin at whole pixels of the coarse scale: move ours there.
  left, top, w, h = crop.crop_window((640, 480), scale, rng(3))
  unit = {120: 2, 60: 4, 30: 8}[side]
  assert min(w, h) >= unit * side
  box = [v // unit * unit for v in (left, top, left + w, top + h)]
  full = Image.fromarray(image.decode(data)).crop(box)
  reference = np.asarray(full.resize((side, side), Image.BICUBIC))
  error = np.abs(fast - reference)
  assert error.mean() < 2.5 and np.quantile(error, 0.999) < 16
  unmoved = np.abs(fast - slow)
  assert unmoved.mean() < 8


def test_small_windows_are_decoded_at_full_size():
  data = jpeg(textured(300, 200))
  both = [
    cropped(data, (300, 200), 101, (0.2, 1.0), 1, reduced=r)
    for r in (True, False)
  ]
  np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("factor", [1.1, 1.3, 1.6, 2.0, 2.6])
def test_shrinking_is_near_pillows_bicubic(factor):
  window = textured(round(96 * factor), round(80 * factor))
  reference = Image.fromarray(window).resize((88, 88), Image.BICUBIC)
  area = cv2.resize(window, (88, 88), interpolation=cv2.INTER_AREA)
  ours = crop._shrink(window, 88)
  error, rough = (
    np.square(pixels.astype(int) - reference).mean() ** 0.5
    for pixels in (ours, area)
  )
  assert error < max(rough, 3.0)


def test_a_side_that_shrinks_much_is_averaged_though_the_other_grows():
  stripes = np.zeros((600, 20, 3), np.uint8)
  stripes[::2] = 255
  assert np.abs(crop._shrink(stripes, 60).astype(int) - 127).max() <= 1


def test_a_record_with_a_wrong_size_is_refused():
  with pytest.raises(BadRecord, match="differs"):
    cropped(photograph(64, 64), (640, 480), 16, (0.5, 1.0))
