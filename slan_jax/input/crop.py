"""Random resized crop: a window of a picture, resized to a square.

Arrays are [height, width, 3] uint8 RGB.
"""

import math
import random

import cv2
import numpy as np

from slan_jax.input.errors import BadRecord
from slan_jax.input.image import decode, read_size

_STRONG = 2.7  # shrinking by more would need more than three taps of blur


def crop_window(
  size: tuple[int, int], scale: tuple[float, float], rng: random.Random
) -> tuple[int, int, int, int]:
  """Window of a random resized crop, as torchvision draws it.

  Args:
    size: Width and height of the picture in pixels.
    scale: Least and largest share of the area; (1, 1) keeps the whole.
    rng: Source of the choices.

  Returns:
    Left, top, width and height in pixels.
  """
  width, height = size
  if scale == (1.0, 1.0):
    return 0, 0, width, height
  for _ in range(10):
    area = width * height * rng.uniform(*scale)
    ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    if 0 < w <= width and 0 < h <= height:
      left = int(rng.random() * (width - w + 1))
      top = int(rng.random() * (height - h + 1))
      return left, top, w, h
  w = min(width, round(height * 4 / 3))
  h = min(height, round(width * 4 / 3))
  return (width - w) // 2, (height - h) // 2, w, h


def decode_crop(
  data: bytes,
  size: tuple[int, int],
  side: int,
  scale: tuple[float, float],
  rng: random.Random,
  *,
  reduced: bool,
) -> np.ndarray:
  """Decodes a picture and resizes a random window of it to a square.

  Args:
    data: The encoded picture.
    size: Its width and height in pixels.
    side: Side of the result in pixels.
    scale: Share of the area that the window covers.
    rng: Source of the choices.
    reduced: As `decode_window` takes it.

  Returns:
    [side, side, 3] uint8 RGB.

  Raises:
    BadRecord: The picture cannot be used.
  """
  window = crop_window(size, scale, rng)
  return decode_window(data, size, side, window, reduced=reduced)


def decode_window(
  data: bytes,
  size: tuple[int, int],
  side: int,
  window: tuple[int, int, int, int],
  *,
  reduced: bool,
) -> np.ndarray:
  """Decodes a picture and resizes a window of it to a square.

  Args:
    data: The encoded picture.
    size: Its width and height in pixels.
    side: Side of the result in pixels.
    window: Left, top, width and height in pixels.
    reduced: Decode at the coarsest of 1, 1/2, 1/4 and 1/8 that still has a
      pixel for every one of the result. Windows then begin and end at whole
      pixels of that scale.

  Returns:
    [side, side, 3] uint8 RGB.

  Raises:
    BadRecord: The picture cannot be used.
  """
  left, top, width, height = window
  reduction = 1
  while (
    reduced and reduction < 8 and min(width, height) >= 2 * reduction * side
  ):
    reduction *= 2
  if read_size(data) != size:
    raise BadRecord("image size differs from its record")
  picture = decode(data, reduction=reduction, rows=top + height)
  kept = picture[
    top // reduction : (top + height) // reduction,
    left // reduction : (left + width) // reduction,
  ]
  return _shrink(kept, side)


def _shrink(window: np.ndarray, side: int) -> np.ndarray:
  """Resizes a window to a square, without aliasing where it becomes smaller.

  Up to a factor of 2.7, a blur and a cubic resize are nearer to Pillow's
  bicubic filter than OpenCV's area mean, in half of its time.
  """
  height, width = window.shape[:2]
  across, down = _blur(width / side), _blur(height / side)
  if max(height, width) > _STRONG * side:
    kept = min(width, side), min(height, side)
    window = cv2.resize(window, kept, interpolation=cv2.INTER_AREA)
  elif across or down:
    window = cv2.GaussianBlur(
      window,
      (3 if across else 1, 3 if down else 1),
      sigmaX=across or 1,
      sigmaY=down or 1,
    )
  return cv2.resize(window, (side, side), interpolation=cv2.INTER_CUBIC)


def _blur(factor: float) -> float:
  """Pixels of blur before shrinking by a factor; 0 = none."""
  return math.sqrt(max(factor**2 - 1, 0)) / 2 if factor > 1.08 else 0.0
