import math
import random

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from slan_jax.input import augment, image
from tests.input.prepared import photograph

RAMP = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


def rng(seed=0):
  return random.Random(seed)


def test_flip_mirrors():
  np.testing.assert_array_equal(augment.flip(RAMP), RAMP[:, ::-1])


def operation(name, strength, seed=0):
  found = {f.__name__.strip("_"): f for f in augment._OPERATIONS}[name]
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


def pictures():
  """Grain over shapes, a dull one, one with a flat channel, a tiny range."""
  generator = np.random.default_rng(2)
  grain = generator.integers(0, 255, (40, 56, 3), np.uint8)
  dull = (grain // 3 + 40).astype(np.uint8)
  flat = grain.copy()
  flat[..., 1] = 7
  return {
    "grain": grain,
    "shapes": image.decode(photograph(56, 40)),
    "dull": dull,
    "flat": flat,
    "two": (grain // 128).astype(np.uint8),
  }


@pytest.mark.parametrize("picture", pictures())
@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_tones_are_pillows(picture, strength):
  """The operations that BLIP takes from Pillow, value for value."""
  pixels = pictures()[picture]
  pillow = Image.fromarray(pixels)
  factor = 0.1 + 1.8 * strength
  references = {
    "auto_contrast": ImageOps.autocontrast(pillow),
    "equalize": ImageOps.equalize(pillow),
    "brightness": ImageEnhance.Brightness(pillow).enhance(factor),
    "sharpness": ImageEnhance.Sharpness(pillow).enhance(factor),
  }
  for name, reference in references.items():
    ours = operation(name, strength)(pixels).astype(int)
    # Both blends round, each in its way.
    most = 2 if name == "sharpness" else 1 if name == "brightness" else 0
    assert np.abs(ours - np.asarray(reference)).max() <= most, name


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("strength", [0.37, 0.5, 1.0])
def test_movements_are_pillows(strength, seed):
  pixels = cv2.resize(pictures()["shapes"], (112, 224))
  pillow = Image.fromarray(pixels)
  sign = 1 if rng(seed).random() < 0.5 else -1
  x, y = (sign * 10 / 224 * strength * size for size in (112, 224))
  shear = sign * 0.3 * strength
  # Pillow asks where a pixel comes from; centres of pixels lie at a half.
  sources = {
    "translate_x": (1, 0, -x, 0, 1, 0),
    "translate_y": (1, 0, 0, 0, 1, -y),
    "shear_x": (1, -shear, shear / 2, 0, 1, 0),
    "shear_y": (1, 0, 0, -shear, 1, shear / 2),
  }
  settings = {"resample": Image.BILINEAR, "fillcolor": (128,) * 3}
  references = {
    name: pillow.transform((112, 224), Image.AFFINE, source, **settings)
    for name, source in sources.items()
  }
  references["rotate"] = pillow.rotate(sign * 30 * strength, **settings)
  for name, reference in references.items():
    ours = operation(name, strength, seed)(pixels).astype(int)
    difference = np.abs(ours - np.asarray(reference)).max(-1)
    # Along the bare rim the two interpolate with the grey or do not.
    assert np.mean(difference > 3) < 0.03, name
    assert difference[100:124, 50:62].max() <= 3, name


def test_half_of_the_operations_drawn_happen():
  picture = pictures()["shapes"]
  drawn = [
    augment.rand_augment(picture, 1, 7, rng(seed)) for seed in range(400)
  ]
  same = np.mean([(pixels == picture).all() for pixels in drawn])
  assert same == pytest.approx(0.5 + 0.5 / 10, abs=0.06)  # one is the identity


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
    augment.rand_augment(picture, 1, 7, rng(seed)).tobytes()
    for seed in range(300)
  }
  # identity, 4 tonal operations and 5 movements in two directions
  assert len(outcomes) == 1 + 4 + 5 * 2
  first = augment.rand_augment(picture, 2, 5, rng(7))
  np.testing.assert_array_equal(
    first, augment.rand_augment(picture, 2, 5, rng(7))
  )
  assert augment.rand_augment(picture, 0, 0, rng()) is picture
