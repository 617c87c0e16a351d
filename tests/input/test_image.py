import io

import cv2
import numpy as np
import pytest
from PIL import Image

from slan_jax.input import image
from slan_jax.input.errors import BadRecord
from tests.input.prepared import photograph

RAMP = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


def stored(pixels, kind="PNG", **options):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, kind, **options)
  return buffer.getvalue()


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
    (stored(RAMP[:1, :1]), "under 8"),
    (stored(RAMP[:1, :1], "GIF"), "under 8"),
    (stored(RAMP)[:40], "corrupt"),
  ],
  ids=["empty", "text", "cut", "header only", "narrow", "low"]
  + ["one pixel", "one pixel GIF", "cut PNG"],
)
def test_unusable_pictures_say_why(data, reason):
  with pytest.raises(BadRecord, match=reason):
    image.decode(data)


def test_cmyk_is_converted_as_pillow_does():
  pixels = image.decode(photograph(40, 30))
  buffer = io.BytesIO()
  Image.fromarray(pixels).convert("CMYK").save(buffer, "JPEG", quality=95)
  reference = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
  decoded = image.decode(buffer.getvalue())
  assert np.abs(decoded - reference).mean() < 2
  half = image.decode(buffer.getvalue(), reduction=2)
  assert half.shape == (15, 20, 3)


def test_sixteen_bits_become_eight():
  deep = np.linspace(0, 65535, 10 * 12).reshape(10, 12).astype(np.uint16)
  decoded = image.decode(cv2.imencode(".png", deep)[1].tobytes())
  assert decoded.shape == (10, 12, 3) and decoded.dtype == np.uint8
  assert np.abs(decoded[..., 1] - deep / 257).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_modes_become_rgb(mode):
  picture = Image.fromarray(np.tile(RAMP, (2, 1, 1))).convert(mode)
  buffer = io.BytesIO()
  picture.save(buffer, "PNG")
  reference = np.asarray(picture.convert("RGB")).astype(int)
  assert np.abs(image.decode(buffer.getvalue()) - reference).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_show_their_first_frame(kind):
  frames = [np.full((9, 12, 3), level, np.uint8) for level in (200, 50, 90)]
  first, *others = map(Image.fromarray, frames)
  buffer = io.BytesIO()
  first.save(buffer, kind, save_all=True, append_images=others)
  decoded = image.decode(buffer.getvalue())
  assert decoded.shape == (9, 12, 3) and abs(decoded.mean() - 200) < 4


def claimed(data, width, height):
  """A PNG or BMP whose header claims another size."""
  if data[:2] == b"BM":
    sides = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return data[:18] + sides + data[26:]
  sides = width.to_bytes(4, "big") + height.to_bytes(4, "big")
  return data[:16] + sides + data[24:]


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
@pytest.mark.parametrize("side", [9_000, 50_000])
def test_bombs_are_refused_by_their_header(kind, side):
  with pytest.raises(BadRecord, match="over 67 megapixels"):
    image.decode(claimed(stored(RAMP, kind), side, side))


def test_a_jpeg_bomb_is_refused_by_its_header():
  data = bytearray(photograph(30, 20))
  place = data.index(b"\xff\xc0") + 5
  data[place : place + 4] = b"\xea\x60\xea\x60"  # 60,000 each
  with pytest.raises(BadRecord, match="over 67 megapixels"):
    image.decode(bytes(data))


def test_a_png_that_lies_about_its_size_is_corrupt():
  with pytest.raises(BadRecord, match="corrupt"):
    image.decode(claimed(stored(RAMP), 900, 900)[:60])


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


def test_pictures_decode_when_indexed():
  pictures = image.Pictures([photograph(20, 30), photograph(40, 20)], 16)
  assert len(pictures) == 2
  rows = pictures[np.array([1, 0, 1])]
  assert rows.shape == (3, 16, 16, 3) and rows.dtype == np.uint8
  np.testing.assert_array_equal(rows[0], rows[2])
  np.testing.assert_array_equal(rows[1], pictures[0])
