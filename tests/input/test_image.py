import io
import random

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slan_jax.input import image
from slan_jax.input.errors import BadRecord
from tests.input.prepared import photograph

RAMP = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


def stored(pixels, kind="PNG", **options):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, kind, **options)
  return buffer.getvalue()


def rng(seed=0):
  return random.Random(seed)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_decode_gives_rgb(kind):
  red = np.zeros((9, 12, 3), np.uint8)
  red[..., 0] = 255
  np.testing.assert_array_equal(image.decode(stored(red, kind)), red)


def test_decode_makes_grey_pictures_rgb():
  grey = np.full((9, 9), 77, np.uint8)
  decoded = image.decode(stored(grey, "JPEG"))
  assert decoded.shape == (9, 9, 3)
  np.testing.assert_array_equal(decoded, 77)


def test_decode_agrees_with_pillow_on_a_photograph():
  data = photograph(90, 60)
  reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
  difference = image.decode(data).astype(int) - reference
  assert np.abs(difference).max() <= 4  # two inverse transforms and upsamplers


def test_decode_keeps_the_stored_orientation():
  exif = Image.Exif()
  exif[0x0112] = 6  # turn by 90 degrees: boxes refer to the stored picture
  data = stored(RAMP, "JPEG", exif=exif)
  assert image.decode(data).shape == (8, 12, 3)
  assert image.decode(photograph(640, 320), reduction=8).shape == (40, 80, 3)


@pytest.mark.parametrize(
  ("data", "reason"),
  [
    (b"", "corrupt"),
    (b"not a picture", "corrupt"),
    (photograph(300, 200)[:-300], "corrupt"),
    (photograph(300, 200)[:40], "corrupt"),
    (photograph(7, 20), "under 8"),
    (stored(RAMP[:5]), "under 8"),
  ],
  ids=["empty", "text", "cut", "header only", "narrow", "low"],
)
def test_unusable_pictures_say_why(data, reason):
  with pytest.raises(BadRecord, match=reason):
    image.decode(data)


def test_a_jpeg_with_bytes_after_its_end_is_whole():
  data = photograph(40, 30) + bytes(100)
  assert image.decode(data).shape == (30, 40, 3)


def test_resize_is_pillows_bicubic():
  data = image.decode(photograph(50, 30))
  expected = Image.fromarray(data).resize((16, 16), Image.BICUBIC)
  np.testing.assert_array_equal(image.resize(data, 16), np.asarray(expected))
  assert image.resize(data[:16, :16], 16) is not None
  same = data[:16, :16]
  assert image.resize(same, 16) is same


@given(
  st.integers(8, 300),
  st.integers(8, 300),
  st.floats(0.05, 1.0),
  st.integers(0, 2**31),
)
def test_crops_lie_within_the_picture(width, height, least, seed):
  scale = (least, 1.0)
  left, top, w, h = image.crop_window((width, height), scale, rng(seed))
  assert left >= 0 and top >= 0 and w > 0 and h > 0
  assert left + w <= width and top + h <= height


def test_crops_cover_the_areas_and_proportions_asked_for():
  generator = rng()
  crops = [
    image.crop_window((400, 400), (0.2, 0.8), generator) for _ in range(300)
  ]
  areas = np.array([w * h for _, _, w, h in crops]) / 400**2
  ratios = np.array([w / h for _, _, w, h in crops])
  assert 0.18 < areas.min() < 0.25 and 0.7 < areas.max() < 0.82
  assert abs(areas.mean() - 0.5) < 0.05
  assert ratios.min() > 0.74 and ratios.max() < 1.35
  assert abs(np.log(ratios).mean()) < 0.04


def test_the_whole_picture_is_kept_when_asked_for():
  assert image.crop_window((50, 30), (1.0, 1.0), rng()) == (0, 0, 50, 30)
  data = stored(np.tile(RAMP, (2, 1, 1))[:12])
  whole = image.decode_crop(data, (12, 12), 12, (1.0, 1.0), rng())
  np.testing.assert_array_equal(whole, image.decode(data))


def test_an_extreme_picture_still_gives_a_crop():
  left, _, w, h = image.crop_window((1000, 10), (0.9, 1.0), rng())
  assert (w, h) == (13, 10) and left == (1000 - 13) // 2


def test_reduced_decoding_shows_the_same_window():
  data = photograph(640, 480)
  fast = image.decode_crop(data, (640, 480), 48, (0.5, 0.9), rng(3))
  left, top, w, h = image.crop_window((640, 480), (0.5, 0.9), rng(3))
  window = image.decode(data)[top : top + h, left : left + w]
  slow = cv2.resize(window, (48, 48), interpolation=cv2.INTER_AREA)
  # The window moves by up to the 4 pixels that are decoded as one.
  assert np.abs(fast.astype(int) - slow).mean() < 4
  other = image.decode_crop(data, (640, 480), 48, (0.5, 0.9), rng(4))
  assert np.abs(other.astype(int) - slow).mean() > 8
  assert fast.shape == (48, 48, 3)


def test_a_record_with_a_wrong_size_is_refused():
  with pytest.raises(BadRecord, match="differs"):
    image.decode_crop(photograph(64, 64), (640, 480), 16, (0.5, 1.0), rng())


def test_pictures_decode_when_indexed():
  pictures = image.Pictures([photograph(20, 30), photograph(40, 20)], 16)
  assert len(pictures) == 2
  rows = pictures[np.array([1, 0, 1])]
  assert rows.shape == (3, 16, 16, 3) and rows.dtype == np.uint8
  np.testing.assert_array_equal(rows[0], rows[2])
  np.testing.assert_array_equal(rows[1], pictures[0])
