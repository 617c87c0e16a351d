"""Pictures with boxes: crops and flips that take the boxes along.

Boxes are xyxy in [0, 1] of the picture, before and after.
"""

import random

import numpy as np

from slan_jax.input import augment, crop
from slan_jax.input.config import InputConfig
from slan_jax.input.errors import InputError

_LEAST = 1e-3  # sides of a box, of the picture; smaller is nothing to see


def require_still(config: InputConfig) -> None:
  """Refuses augmentation that would move what boxes are around.

  Raises:
    InputError: RandAugment is on: it shears, rotates and moves.
  """
  if config.randaugment[0]:
    raise InputError(
      f"data.randaugment is {config.randaugment}: its operations move objects "
      "out of their boxes; set it to (0, 0) for this task"
    )


def boxed_picture(
  data: bytes,
  size: tuple[int, int],
  boxes: np.ndarray,
  config: InputConfig,
  rng: random.Random,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
  """Decodes a random window of a picture, perhaps mirrored, with its boxes.

  Args:
    data: The encoded picture.
    size: Its width and height in pixels.
    boxes: [O, 4] xyxy.
    config: Sizes, crop and flip.
    rng: Source of the choices.

  Returns:
    The picture [S, S, 3] uint8; boxes [O, 4] float32, clipped to it; [O] bool,
    those whose centre is still in it; whether it was mirrored.

  Raises:
    BadRecord: The picture cannot be used.
  """
  window = crop.crop_window(size, config.crop_scale, rng)
  picture = crop.decode_window(
    data, size, config.image_size, window, reduced=config.reduced_decode
  )
  moved = _cut(boxes, size, window)
  flipped = config.flip and rng.random() < 0.5
  if flipped:
    picture = augment.flip(picture)
    moved = np.stack(
      [1 - moved[:, 2], moved[:, 1], 1 - moved[:, 0], moved[:, 3]], axis=1
    )
  centre = (moved[:, :2] + moved[:, 2:]) / 2
  clipped = np.clip(moved, 0, 1).astype(np.float32)
  kept = ((centre >= 0) & (centre <= 1)).all(-1)
  kept &= (clipped[:, 2:] - clipped[:, :2] >= _LEAST).all(-1)
  return picture, clipped, kept, flipped


def _cut(
  boxes: np.ndarray, size: tuple[int, int], window: tuple[int, int, int, int]
) -> np.ndarray:
  """The boxes as fractions of a window, whose pixels are given."""
  corner = np.array(window[:2], float) / size
  sides = np.array(window[2:], float) / size
  points = (np.asarray(boxes, float).reshape(-1, 2, 2) - corner) / sides
  return points.reshape(-1, 4)
