"""Pictures: decoding, random resized crop, evaluation resizing.

Arrays are [height, width, 3] uint8 RGB.
"""

import io
import math
import random
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from slan_jax.input.errors import BadRecord

SMALLEST_SIDE = 8  # pixels; anything less is not a picture
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {  # JPEG decodes at these fractions by skipping frequencies
  2: cv2.IMREAD_REDUCED_COLOR_2,
  4: cv2.IMREAD_REDUCED_COLOR_4,
  8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode(data: bytes, *, reduction: int = 1) -> np.ndarray:
  """Decodes a picture.

  Args:
    data: A JPEG, PNG or other file that OpenCV or Pillow reads.
    reduction: 1, 2, 4 or 8: decode at this fraction of the size, which is
      faster for JPEG.

  Returns:
    [h, w, 3] uint8 RGB, in stored orientation, as boxes refer to.

  Raises:
    BadRecord: It is cut short, not a picture, or under 8 pixels.
  """
  if _cut_short(data):
    raise BadRecord("corrupt image")
  buffer = np.frombuffer(data, np.uint8)
  picture = None
  if len(buffer):
    flags = _FLAGS
    if reduction > 1:
      flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(buffer, flags)
    if picture is not None and reduction > 1:
      picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
  if picture is None:
    picture = _decode_with_pillow(data)
  if min(picture.shape[:2]) * reduction < SMALLEST_SIDE:
    raise BadRecord("image under 8 pixels")
  return picture


def _cut_short(data: bytes) -> bool:
  """Whether a JPEG lacks its end: OpenCV would fill the rest with grey."""
  if data[:2] != b"\xff\xd8" or b"\xff\xd9" in data[-64:]:
    return False
  try:
    with Image.open(io.BytesIO(data)) as picture:
      picture.load()
  except Exception:
    return True
  return False


def _decode_with_pillow(data: bytes) -> np.ndarray:
  """Formats that OpenCV does not read, such as GIF or CMYK TIFF."""
  try:
    with Image.open(io.BytesIO(data)) as picture:
      return np.asarray(picture.convert("RGB"))
  except Exception as error:
    raise BadRecord("corrupt image") from error


def resize(picture: np.ndarray, side: int) -> np.ndarray:
  """Bicubic resize to a square as evaluation does: proportions are not kept.

  Pillow's filter is the one that published scores were measured with.
  """
  if picture.shape[:2] == (side, side):
    return picture
  resized = Image.fromarray(picture).resize((side, side), Image.BICUBIC)
  return np.asarray(resized)


class Pictures:
  """Encoded pictures that decode to [n, S, S, 3] uint8 when indexed by rows."""

  def __init__(self, encoded: Sequence[bytes], side: int):
    """Keeps the bytes.

    Args:
      encoded: The pictures.
      side: S, pixels of each decoded square.
    """
    self._encoded = encoded
    self._side = side

  def __len__(self) -> int:
    return len(self._encoded)

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """The pictures of several rows, or of one without the leading axis."""
    if np.ndim(rows):
      return np.stack([self[row] for row in rows])
    return resize(decode(self._encoded[rows]), self._side)


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
) -> np.ndarray:
  """Decodes a picture and resizes a random window of it to a square.

  Large JPEGs are decoded at the coarsest resolution that still has a pixel
  for every one of the result.

  Args:
    data: The encoded picture.
    size: Its width and height in pixels.
    side: Side of the result in pixels.
    scale: Share of the area that the window covers.
    rng: Source of the choices.

  Returns:
    [side, side, 3] uint8 RGB.

  Raises:
    BadRecord: The picture cannot be used.
  """
  left, top, width, height = crop_window(size, scale, rng)
  reduction = 1
  while reduction < 8 and min(width, height) >= 2 * reduction * side:
    reduction *= 2
  picture = decode(data, reduction=reduction)
  expected = tuple(-(-pixels // reduction) for pixels in size)
  if picture.shape[1::-1] != expected:
    raise BadRecord("image size differs from its record")
  window = picture[
    top // reduction : (top + height) // reduction,
    left // reduction : (left + width) // reduction,
  ]
  shrinks = min(window.shape[:2]) > side
  how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
  return cv2.resize(window, (side, side), interpolation=how)
