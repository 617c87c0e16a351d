import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data import jpeg, pictures
from data.errors import Unusable
from data.pictures import usable_picture
from slan_jax.input import image as loader
from tests.data.coco_source import encoded

GOOD = encoded(40, 30)


def saved(kind, picture, **options):
  buffer = io.BytesIO()
  picture.save(buffer, kind, **options)
  return buffer.getvalue()


def plain(mode="RGB", size=(40, 30)):
  return Image.effect_noise(size, 60).convert(mode)


def turned(size=(40, 30), orientation=6):
  exif = Image.Exif()
  exif[0x0112] = orientation
  return saved("JPEG", plain(size=size), exif=exif)


def left_red():
  """Red left of the middle, blue right of it."""
  picture = Image.new("RGB", (40, 30), "red")
  picture.paste("blue", (20, 0, 40, 30))
  return picture


@pytest.mark.parametrize(
  "data",
  [
    GOOD,
    saved("JPEG", plain("L")),
    saved("JPEG", plain(), progressive=True),
    saved("JPEG", plain(), subsampling=0, quality=100, comment=b"\xff\xd9"),
    saved("JPEG", plain()) + b"\0" * 9,
    saved("PNG", plain()),
    saved("PNG", plain("L")),
  ],
  ids=["plain", "grey", "progressive", "comment", "padded", "png", "grey png"],
)
def test_a_valid_picture_keeps_its_bytes(data):
  for decode in (False, True):
    assert usable_picture(data, decode=decode) == (data, (40, 30), [])
  assert loader.decode(data).shape == (30, 40, 3)


def test_real_photographs_keep_their_bytes(test_data):
  """Real files where there are some."""
  files = (
    sorted((test_data / "coco_sample/images").iterdir())[:40]
    if (test_data)
    else []
  )
  for data in [path.read_bytes() for path in files] or [encoded(640, 480)]:
    made = usable_picture(data)
    with Image.open(io.BytesIO(data)) as picture:
      assert made == (data, picture.size, [])


def levels16():
  levels = np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16)
  return Image.fromarray(levels)


CASES = {
  "webp": (saved("WEBP", plain(), lossless=True), "image: WEBP re-encoded"),
  "bmp": (saved("BMP", plain()), "image: BMP re-encoded"),
  "palette": (saved("PNG", plain("P")), "image: PNG re-encoded"),
  "bits": (saved("PNG", plain("1")), "image: PNG re-encoded"),
  "cmyk": (saved("JPEG", plain("CMYK")), "image: CMYK to RGB"),
  "16 bits": (saved("PNG", levels16()), "image: 16 bits to 8"),
  "alpha": (saved("PNG", plain("RGBA")), "image: transparency over white"),
  "turned": (turned(), "image: turned upright"),
  "gif": (
    saved("GIF", plain("L"), save_all=True, append_images=[plain("1")]),
    "image: first frame kept",
  ),
}


@pytest.mark.parametrize("name", CASES)
def test_other_pictures_become_plain_jpeg(name):
  data, note = CASES[name]
  made = usable_picture(data)
  assert made.notes == [note]
  size = (30, 40) if name == "turned" else (40, 30)
  assert made.size == size
  # What comes out is valid: a second time nothing happens to it.
  assert usable_picture(made.data) == (made.data, size, [])
  assert loader.decode(made.data).shape == (*size[::-1], 3)


def test_repairs_keep_what_is_seen():
  def colours(data):
    pixels = loader.decode(usable_picture(data).data).astype(int)
    return pixels[2, 2], pixels[-3, -3]

  for kind, mode in (("JPEG", "CMYK"), ("WEBP", "RGB"), ("GIF", "P")):
    left, right = colours(saved(kind, left_red().convert(mode)))
    assert left[0] > 200 and left[2] < 60, kind
    assert right[2] > 200 and right[0] < 60, kind
  # Orientation 3 is a half turn: red comes to lie right.
  exif = Image.Exif()
  exif[0x0112] = 3
  left, right = colours(saved("JPEG", left_red(), exif=exif))
  assert left[2] > 200 and right[0] > 200
  dark, light = colours(saved("PNG", levels16()))
  assert dark.max() < 30 and light.min() > 225
  clear = Image.new("RGBA", (40, 30), (255, 0, 0, 0))
  assert colours(saved("PNG", clear))[0].min() > 250


def test_an_annotated_picture_keeps_its_orientation():
  data = turned((40, 30))
  assert usable_picture(data, (40, 30)) == (data, (40, 30), [])
  assert usable_picture(data, (30, 40)).size == (30, 40)
  assert usable_picture(data).notes == ["image: turned upright"]


def huge():
  """A PNG that states 60,000 x 60,000 pixels and holds none."""
  header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
  start = saved("PNG", plain())
  check = struct.pack(">I", zlib.crc32(b"IHDR" + header))
  return start[:16] + header + check + start[33:]


@pytest.mark.parametrize(
  ("data", "reason"),
  [
    (b"", "image empty"),
    (b"<html>not found</html>", "not an image"),
    (GOOD[:-100], "image cut short"),
    (GOOD[:300], "image corrupt"),
    (saved("PNG", plain())[:-200], "image corrupt"),
    (encoded(1, 1), "image under 8 pixels"),
    (saved("GIF", plain(size=(1, 1))), "image under 8 pixels"),
    (huge(), "image over 67 megapixels"),
    (saved("TIFF", plain("F")), "image of fractions"),
    (b"\xff" * (2**26 + 1), "image over 64 MiB"),
  ],
  ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_repaired_has_a_reason(data, reason):
  with pytest.raises(Unusable, match=f"^{reason}$"):
    usable_picture(data)


def test_a_jpeg_too_large_to_decode_is_refused():
  place = GOOD.index(b"\xff\xc0") + 5
  data = GOOD[:place] + struct.pack(">HH", 65_000, 65_000) + GOOD[place + 4 :]
  with pytest.raises(Unusable, match="67 megapixels"):
    usable_picture(data)


def test_a_jpeg_that_no_decoder_takes_shows_when_it_is_decoded():
  place = GOOD.index(b"\xff\xc4") + 5  # a table with too many codes
  broken = GOOD[:place] + b"\xff" * 4 + GOOD[place + 4 :]
  assert usable_picture(broken).data == broken
  with pytest.raises(Unusable, match="image corrupt"):
    usable_picture(broken, decode=True)


def test_the_outline_of_a_jpeg():
  assert jpeg.read_outline(GOOD) == ((40, 30), 3, 8, 1)
  assert jpeg.read_outline(turned(orientation=8)).orientation == 8
  assert jpeg.read_outline(saved("JPEG", plain("CMYK"))).components == 4
  for end in (3, 20, 200, len(GOOD) - 1):
    assert jpeg.read_outline(GOOD[:end]) is None


def test_an_unreadable_orientation_is_upright():
  data = turned()
  place = data.index(b"Exif\0\0") + 6
  broken = data[:place] + b"\0" * 12 + data[place + 12 :]
  assert jpeg.read_outline(broken).orientation == 1
  assert pictures.usable_picture(broken).size == (40, 30)
