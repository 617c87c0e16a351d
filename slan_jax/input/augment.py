"""Augmentation of training pictures, as BLIP pre-trains.

Flip and RandAugment without colour operations. Arrays are [height, width, 3]
uint8 RGB; every choice comes from the generator that is handed in.
"""

import random
from collections.abc import Callable

import cv2
import numpy as np

_GREY = (128, 128, 128)  # what a moved picture leaves bare


def flip(picture: np.ndarray) -> np.ndarray:
  """Mirrors left and right."""
  return cv2.flip(picture, 1)


def rand_augment(
  picture: np.ndarray, number: int, magnitude: int, rng: random.Random
) -> np.ndarray:
  """RandAugment without colour operations, as BLIP pre-trains.

  Args:
    picture: [h, w, 3] uint8.
    number: Operations drawn, with replacement.
    magnitude: Strength, 0 to 10.
    rng: Source of the choices.

  Returns:
    [h, w, 3] uint8.
  """
  for _ in range(number):
    operation = _OPERATIONS[int(rng.random() * len(_OPERATIONS))]
    picture = operation(picture, magnitude / 10, rng)
  return picture


Operation = Callable[[np.ndarray, float, random.Random], np.ndarray]


def _identity(picture, strength, rng):
  del strength, rng
  return picture


def _auto_contrast(picture, strength, rng):
  """Stretches each channel to the full range; a flat one stays."""
  del strength, rng
  planes = []
  for plane in cv2.split(picture):
    low, high, _, _ = cv2.minMaxLoc(plane)
    if high > low:
      plane = cv2.normalize(plane, None, 0, 255, cv2.NORM_MINMAX)
    planes.append(plane)
  return cv2.merge(planes)


def _equalize(picture, strength, rng):
  """Flattens the histogram of each channel."""
  del strength, rng
  return cv2.merge([cv2.equalizeHist(plane) for plane in cv2.split(picture)])


def _brightness(picture, strength, rng):
  del rng
  return cv2.convertScaleAbs(picture, alpha=0.1 + 1.8 * strength)


def _sharpness(picture, strength, rng):
  """Blends with a smoothed copy; above 1 it moves away from it."""
  del rng
  factor = 0.1 + 1.8 * strength
  smooth = cv2.filter2D(picture, -1, _SMOOTH)
  return cv2.addWeighted(picture, factor, smooth, 1 - factor, 0.0)


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
  return _moved(picture, [[1, 0, shift], [0, 1, 0]])


def _translate_y(picture, strength, rng):
  shift = _FARTHEST * strength * _sign(rng) * picture.shape[0]
  return _moved(picture, [[1, 0, 0], [0, 1, shift]])


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
