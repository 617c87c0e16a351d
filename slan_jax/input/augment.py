"""Augmentation of training pictures, as BLIP pre-trains.

Flip and RandAugment without colour operations. Arrays are [height, width, 3]
uint8 RGB; every choice comes from the generator that is handed in.
"""

import random
from collections.abc import Callable

import cv2
import numpy as np

_GREY = (128, 128, 128)  # what a moved picture leaves bare
_LEVELS = np.arange(256)


def flip(picture: np.ndarray) -> np.ndarray:
  """Mirrors left and right."""
  return cv2.flip(picture, 1)


def rand_augment(
  picture: np.ndarray, number: int, magnitude: int, rng: random.Random
) -> np.ndarray:
  """RandAugment without colour operations, as BLIP pre-trains.

  Args:
    picture: [h, w, 3] uint8.
    number: Operations drawn, with replacement; each happens in half of all
      cases, as in BLIP's code.
    magnitude: Strength, 0 to 10.
    rng: Source of the choices.

  Returns:
    [h, w, 3] uint8.
  """
  for _ in range(number):
    operation = _OPERATIONS[int(rng.random() * len(_OPERATIONS))]
    if rng.random() < 0.5:
      picture = operation(picture, magnitude / 10, rng)
  return picture


Operation = Callable[[np.ndarray, float, random.Random], np.ndarray]


def _identity(picture, strength, rng):
  del strength, rng
  return picture


def _auto_contrast(picture, strength, rng):
  """Stretches each channel to the full range; a flat one stays."""
  del strength, rng
  return _looked_up(picture, _stretched)


def _stretched(plane: np.ndarray) -> np.ndarray:
  low, high, _, _ = cv2.minMaxLoc(plane)
  if high == low:
    return _LEVELS
  scale = 255 / (high - low)
  return np.clip(_LEVELS * scale - low * scale, 0, 255)


def _equalize(picture, strength, rng):
  """Flattens the histogram of each channel."""
  del strength, rng
  return _looked_up(picture, _flattened)


def _flattened(plane: np.ndarray) -> np.ndarray:
  counts = cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel()
  counts = counts.astype(np.int64)
  last = counts[np.flatnonzero(counts)[-1]]
  step = (counts.sum() - last) // 255
  if step == 0:
    return _LEVELS
  below = np.cumsum(counts) - counts
  return np.minimum((below + step // 2) // step, 255)


def _looked_up(
  picture: np.ndarray, table: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
  """Maps the levels of each channel by a table of its own.

  Args:
    picture: [h, w, 3] uint8.
    table: [h, w] channel -> [256] new levels, rounded down here.
  """
  tables = [table(plane) for plane in cv2.split(picture)]
  return cv2.LUT(picture, np.stack(tables, -1).astype(np.uint8)[None])


def _brightness(picture, strength, rng):
  del rng
  table = np.minimum(_LEVELS * (0.1 + 1.8 * strength), 255)
  return cv2.LUT(picture, table.astype(np.uint8))


def _sharpness(picture, strength, rng):
  """Blends with a smoothed copy; above 1 it moves away from it."""
  del rng
  factor = 0.1 + 1.8 * strength
  smooth = cv2.filter2D(picture, -1, _SMOOTH)
  blended = cv2.addWeighted(picture, factor, smooth, 1 - factor, 0.0)
  for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
    blended[edge] = picture[edge]  # Pillow smooths no borders
  return blended


_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def _sign(rng: random.Random) -> float:
  return 1.0 if rng.random() < 0.5 else -1.0


def _moved(picture: np.ndarray, matrix) -> np.ndarray:
  height, width = picture.shape[:2]
  return cv2.warpAffine(
    picture,
    np.array(matrix, np.float32),
    (width, height),
    flags=cv2.INTER_LINEAR,
    borderValue=_GREY,
  )


def _shear_x(picture, strength, rng):
  return _moved(picture, [[1, 0.3 * strength * _sign(rng), 0], [0, 1, 0]])


def _shear_y(picture, strength, rng):
  return _moved(picture, [[1, 0, 0], [0.3 * strength * _sign(rng), 1, 0]])


def _translate_x(picture, strength, rng):
  shift = _FARTHEST * strength * _sign(rng) * picture.shape[1]
  return _shifted(picture, shift, 0.0)


def _translate_y(picture, strength, rng):
  shift = _FARTHEST * strength * _sign(rng) * picture.shape[0]
  return _shifted(picture, 0.0, shift)


def _shifted(picture: np.ndarray, right: float, down: float) -> np.ndarray:
  if not (right.is_integer() and down.is_integer()):
    return _moved(picture, [[1, 0, right], [0, 1, down]])
  # Whole pixels, as at 224 px and BLIP's strength, are copied: 20 times faster.
  x, y = int(right), int(down)
  height, width = picture.shape[:2]
  kept = picture[
    max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)
  ]
  borders = (max(y, 0), max(-y, 0), max(x, 0), max(-x, 0))
  return cv2.copyMakeBorder(kept, *borders, cv2.BORDER_CONSTANT, value=_GREY)


_FARTHEST = 10 / 224  # BLIP moves by up to 10 pixels of 224


def _rotate(picture, strength, rng):
  height, width = picture.shape[:2]
  centre = ((width - 1) / 2, (height - 1) / 2)
  angle = 30 * strength * _sign(rng)
  return _moved(picture, cv2.getRotationMatrix2D(centre, angle, 1.0))


_OPERATIONS: tuple[Operation, ...] = (
  _identity,
  _auto_contrast,
  _equalize,
  _brightness,
  _sharpness,
  _shear_x,
  _shear_y,
  _translate_x,
  _translate_y,
  _rotate,
)
