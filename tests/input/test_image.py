import io
import math
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


def test_flip_mirrors():
  np.testing.assert_array_equal(image.flip(RAMP), RAMP[:, ::-1])


def operation(name, strength, seed=0):
  found = {f.__name__.strip("_"): f for f in image._OPERATIONS}[name]
  return lambda picture: found(picture, strength, rng(seed))


def test_contrast_and_histogram_fill_the_range():
  dull = np.linspace(60, 120, 256).astype(np.uint8).reshape(16, 16)
  dull = np.stack([dull, dull + 20, np.full_like(dull, 9)], -1)
  for name in ("auto_contrast", "equalize"):
    bright = operation(name, 0.5)(dull)
    assert bright[..., 0].min() == 0 and bright[..., 0].max() == 255
  np.testing.assert_array_equal(operation("auto_contrast", 0)(dull)[..., 2], 9)


def test_brightness_and_sharpness_at_known_strengths():
  flat = np.full((9, 9, 3), 100, np.uint8)
  assert operation("brightness", 1.0)(flat)[4, 4, 0] == 190
  assert operation("brightness", 0.0)(flat)[4, 4, 0] == 10
  np.testing.assert_array_equal(operation("sharpness", 1.0)(flat), flat)
  point = flat.copy()
  point[4, 4] = 230
  sharper = operation("sharpness", 1.0)(point)[4, 4, 0]
  softer = operation("sharpness", 0.0)(point)[4, 4, 0]
  assert softer < 230 < sharper


def test_translations_move_by_ten_of_224_pixels():
  picture = np.zeros((224, 224, 3), np.uint8)
  picture[100:104, 100:104] = 255
  moved = {
    name: operation(name, 1.0)(picture)
    for name in ("translate_x", "translate_y")
  }
  rows, columns = np.nonzero(moved["translate_x"][..., 0] == 255)
  assert rows.min() == 100 and abs(columns.min() - 100) == 10
  rows, columns = np.nonzero(moved["translate_y"][..., 0] == 255)
  assert columns.min() == 100 and abs(rows.min() - 100) == 10


@pytest.mark.parametrize("name", ["shear_x", "shear_y", "rotate"])
def test_deformations_do_nothing_at_strength_zero_and_leave_grey(name):
  picture = np.full((32, 32, 3), 200, np.uint8)
  np.testing.assert_array_equal(operation(name, 0.0)(picture), picture)
  bent = operation(name, 1.0)(picture)
  assert (bent == 128).any() and (bent == 200).mean() > 0.5


def test_rotation_is_by_thirty_degrees_at_full_strength():
  picture = np.zeros((101, 101, 3), np.uint8)
  picture[49:52, 85:88] = 255  # 36 pixels right of the centre
  rows, columns = np.nonzero(operation("rotate", 1.0)(picture)[..., 0] > 150)
  angle = math.degrees(math.atan2(50 - rows.mean(), columns.mean() - 50))
  assert abs(angle) == pytest.approx(30, abs=1)


def test_both_directions_occur():
  picture = np.zeros((224, 224, 3), np.uint8)
  picture[:, 100] = 255
  found = set()
  for seed in range(10):
    moved = operation("translate_x", 1.0, seed)(picture)
    (column,) = np.flatnonzero(moved[0, :, 0] == 255)
    found.add(int(column))
  assert found == {90, 110}


def test_rand_augment_draws_all_operations_and_repeats_itself():
  picture = image.decode(photograph(32, 32))
  outcomes = {
    image.rand_augment(picture, 1, 7, rng(seed)).tobytes()
    for seed in range(120)
  }
  # identity, 4 tonal operations and 5 movements in two directions
  assert len(outcomes) == 1 + 4 + 5 * 2
  first = image.rand_augment(picture, 2, 5, rng(7))
  np.testing.assert_array_equal(
    first, image.rand_augment(picture, 2, 5, rng(7))
  )
  assert image.rand_augment(picture, 0, 0, rng()) is picture


def test_pictures_decode_when_indexed():
  pictures = image.Pictures([photograph(20, 30), photograph(40, 20)], 16)
  assert len(pictures) == 2
  rows = pictures[np.array([1, 0, 1])]
  assert rows.shape == (3, 16, 16, 3) and rows.dtype == np.uint8
  np.testing.assert_array_equal(rows[0], rows[2])
  np.testing.assert_array_equal(rows[1], pictures[0])
