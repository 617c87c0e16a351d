"""Pictures: decoding, and the resizing that evaluation does.

Arrays are [height, width, 3] uint8 RGB.
"""

import hashlib
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from slan_jax.input import jpeg
from slan_jax.input.errors import BadRecord

SMALLEST_SIDE = 8  # pixels; anything less is not a picture
MOST_PIXELS = 2**26  # anything more is taken for a decompression bomb
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
  2: cv2.IMREAD_REDUCED_COLOR_2,
  4: cv2.IMREAD_REDUCED_COLOR_4,
  8: cv2.IMREAD_REDUCED_COLOR_8,
}
_PNG = b"\x89PNG\r\n\x1a\n"


def read_size(data: bytes) -> tuple[int, int]:
  """Width and height in pixels, from the header alone.

  Raises:
    BadRecord: It is not a picture, under 8 pixels, or too large to be one.
  """
  try:
    if jpeg.is_jpeg(data):
      width, height = jpeg.read_size(data)
    elif data[:8] == _PNG and len(data) > 24:
      width, height = (int.from_bytes(data[k : k + 4], "big") for k in (16, 20))
    else:
      with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
  except (Image.DecompressionBombError, Image.DecompressionBombWarning):
    width, height = MOST_PIXELS, MOST_PIXELS
  except Exception as error:
    raise BadRecord("corrupt image") from error
  if min(width, height) < SMALLEST_SIDE:
    raise BadRecord("image under 8 pixels")
  if width * height > MOST_PIXELS:
    raise BadRecord("image over 67 megapixels")
  return width, height


def decode(
  data: bytes, *, reduction: int = 1, rows: int | None = None
) -> np.ndarray:
  """Decodes a picture.

  Args:
    data: A JPEG, PNG or other file that Pillow reads; of an animation the
      first frame.
    reduction: 1, 2, 4 or 8: decode at this fraction of the size, which is
      faster for JPEG.
    rows: Rows of the full size that are wanted, from the top: a JPEG may then
      be decoded no further; None = all.

  Returns:
    [h, w, 3] uint8 RGB, in stored orientation, as boxes refer to.

  Raises:
    BadRecord: It is cut short, not a picture, under 8 pixels or over 67
      megapixels.
  """
  read_size(data)
  if jpeg.is_jpeg(data):
    if _cut_short(data):
      raise BadRecord("corrupt image")
    try:
      return jpeg.decode(data, reduction=reduction, rows=rows)
    except ValueError:
      pass  # such as CMYK, which OpenCV converts
  flags = _FLAGS
  if reduction > 1:
    flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
  try:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    picture = None
  if picture is None:
    return _decode_with_pillow(data)[::reduction, ::reduction]
  if reduction > 1:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
  return picture


def _cut_short(data: bytes) -> bool:
  """Whether a JPEG lacks its end: decoders would fill the rest with grey."""
  if b"\xff\xd9" in data[-64:]:
    return False
  return _loaded(data) is None


def _decode_with_pillow(data: bytes) -> np.ndarray:
  """Formats that OpenCV does not read, such as CMYK TIFF."""
  picture = _loaded(data)
  if picture is None:
    raise BadRecord("corrupt image")
  return np.asarray(picture.convert("RGB"))


def _loaded(data: bytes) -> Image.Image | None:
  try:
    picture = Image.open(io.BytesIO(data))
    picture.load()
  except Exception:
    return None
  return picture


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
    """Decodes nothing yet.

    Args:
      encoded: The pictures, held or read when they are asked for.
      side: S, pixels of each decoded square.
    """
    self._encoded = encoded
    self._side = side

  def __len__(self) -> int:
    return len(self._encoded)

  def digest(self) -> bytes:
    """Sixteen bytes that tell these pictures from others."""
    each = [hashlib.blake2b(x, digest_size=16).digest() for x in self._encoded]
    return hashlib.blake2b(b"".join(each), digest_size=16).digest()

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """The pictures of several rows, or of one without the leading axis."""
    if np.ndim(rows):
      return np.stack([self[row] for row in rows])
    return resize(decode(self._encoded[rows]), self._side)
