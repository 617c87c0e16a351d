"""Which pictures are stored as they are, which are repaired, which refused.

The rules stand in data/README.md. A plain JPEG is judged by its markers alone
and never re-encoded.
"""

import io
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from data import jpeg
from data.errors import Unusable

SMALLEST_SIDE = 8  # pixels; the loader takes nothing less
MOST_PIXELS = 2**26  # 67 million: 200 MB once decoded
MOST_BYTES = 2**26
_QUALITY = 95
# Formats that Pillow decodes within its own process and memory.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"


class Picture(NamedTuple):
  """A picture that the loader can read.

  Attributes:
    data: A JPEG of 1 or 3 components, or a PNG of 8 bits without alpha.
    size: Width and height in pixels.
    notes: What was repaired; empty where `data` is what came in.
  """

  data: bytes
  size: tuple[int, int]
  notes: list[str]


def usable_picture(
  data: bytes,
  stated: tuple[int, int] | None = None,
  *,
  decode: bool = False,
) -> Picture:
  """The picture, repaired where it must be.

  Args:
    data: An encoded picture as it was found.
    stated: Width and height that annotations give. Where they agree with the
      stored pixels, the picture keeps their orientation, for people who
      annotated it saw it so; else EXIF's orientation is applied.
    decode: Decode a JPEG to its end instead of trusting its markers.

  Returns:
    The picture.

  Raises:
    Unusable: It cannot be repaired.
  """
  if not data:
    raise Unusable("image empty")
  if len(data) > MOST_BYTES:
    raise Unusable("image over 64 MiB")
  outline = jpeg.read_outline(data) if jpeg.is_jpeg(data) else None
  if outline and _is_plain(outline, stated):
    check_size(outline.size)
    if decode:
      _decode(data)
    return Picture(data, outline.size, [])
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Pillow warns of what is counted here
    return _repair(data, stated)


def _is_plain(outline: jpeg.Outline, stated: tuple[int, int] | None) -> bool:
  upright = outline.orientation == 1 or outline.size == stated
  return outline.bits == 8 and outline.components in (1, 3) and upright


def check_size(size: tuple[int, int]) -> None:
  """Refuses what is too small to see or too large to decode.

  Raises:
    Unusable: It is.
  """
  if min(size) < SMALLEST_SIDE:
    raise Unusable("image under 8 pixels")
  if size[0] * size[1] > MOST_PIXELS:
    raise Unusable("image over 67 megapixels")


def _decode(data: bytes) -> None:
  try:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
      picture.load()
  except Exception as error:
    raise Unusable("image corrupt") from error


def _repair(data: bytes, stated: tuple[int, int] | None) -> Picture:
  try:
    picture = Image.open(io.BytesIO(data), formats=_FORMATS)
  except Image.DecompressionBombError as error:
    raise Unusable("image over 67 megapixels") from error
  except Exception as error:
    reason = "image corrupt" if jpeg.is_jpeg(data) else "not an image"
    raise Unusable(reason) from error
  with picture:
    check_size(picture.size)
    try:
      picture.load()  # the first frame
      return _converted(data, picture, stated)
    except Unusable:
      raise
    except Exception as error:  # Pillow raises many kinds on damaged files
      cut = jpeg.is_jpeg(data) and "truncated" in str(error)
      reason = "image cut short" if cut else "image corrupt"
      raise Unusable(reason) from error


def _converted(
  data: bytes, picture: Image.Image, stated: tuple[int, int] | None
) -> Picture:
  notes = []
  kind = "JPEG" if picture.format == "MPO" else picture.format
  if kind != "JPEG" and getattr(picture, "is_animated", False):
    notes.append("image: first frame kept")
  pixels, note = _as_rgb(picture)
  notes += [note] if note else []
  turned = picture.getexif().get(_ORIENTATION, 1) in range(2, 9)
  if turned and picture.size != stated:
    pixels = ImageOps.exif_transpose(pixels)
    notes.append("image: turned upright")
  if not notes and data[:8] == _PNG and data[24:26] in (b"\x08\0", b"\x08\2"):
    return Picture(data, picture.size, [])
  encoded = io.BytesIO()
  pixels.save(encoded, "JPEG", quality=_QUALITY, subsampling=0, exif=b"")
  return Picture(
    encoded.getvalue(), pixels.size, notes or [f"image: {kind} re-encoded"]
  )


def _as_rgb(picture: Image.Image) -> tuple[Image.Image, str | None]:
  """Three bytes a pixel, EXIF kept, and what was changed beyond layout."""
  exif = picture.getexif()
  note = None
  if picture.mode == "F":
    raise Unusable("image of fractions")
  if picture.mode.startswith("I"):
    levels = np.asarray(picture).astype(np.int64) >> 8
    made = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    note = "image: 16 bits to 8"
  elif picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
    layer = picture.convert("RGBA")
    made = Image.new("RGB", picture.size, "white")
    made.paste(layer, mask=layer.getchannel("A"))
    note = "image: transparency over white"
  else:
    made = picture
    if picture.mode == "CMYK":
      note = "image: CMYK to RGB"
  made = made.convert("RGB")
  made.info.pop("exif", None)
  if _ORIENTATION in exif:
    made.getexif()[_ORIENTATION] = exif[_ORIENTATION]
  return made, note
