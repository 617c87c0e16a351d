import io

import numpy as np
import pytest
from PIL import Image

from slan_jax.input import image, jpeg

PIXELS = np.random.default_rng(0).integers(0, 255, (120, 70, 3), np.uint8)


def stored(**options):
  buffer = io.BytesIO()
  Image.fromarray(PIXELS).save(buffer, "JPEG", **options)
  return buffer.getvalue()


KINDS = {
  "4:4:4": {"subsampling": 0},
  "4:2:2": {"subsampling": 1},
  "4:2:0": {"subsampling": 2},
  "progressive": {"progressive": True},
  "comment before the frame": {"comment": b"\xff\xc0" * 40},
  "restart markers": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_rows_that_are_read_are_those_of_the_whole(kind, reduction):
  data = stored(**KINDS[kind])
  whole = jpeg.decode(data, reduction=reduction)
  assert whole.shape == (120 // reduction, -(-70 // reduction), 3)
  for rows in (1, 8, 16, 37, 64, 100, 119, 120):
    part = jpeg.decode(data, reduction=reduction, rows=rows)
    wanted = rows // reduction
    assert wanted <= len(part) <= len(whole)
    np.testing.assert_array_equal(part[:wanted], whole[:wanted])


def test_fewer_rows_are_decoded_only_where_rows_are_in_sequence():
  assert len(jpeg.decode(stored(), rows=40)) == 56
  assert len(jpeg.decode(stored(progressive=True), rows=40)) == 120
  assert len(jpeg.decode(stored(), rows=110)) == 120


def test_size_is_read_from_the_header():
  assert jpeg.is_jpeg(stored()) and not jpeg.is_jpeg(b"GIF89a")
  assert jpeg.read_size(stored()) == (70, 120)
  with pytest.raises(ValueError):
    jpeg.read_size(b"\xff\xd8\xff\xd9")


def test_pixels_are_those_of_pillow():
  for kind in ("4:4:4", "4:2:0", "progressive"):
    data = stored(**KINDS[kind])
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    difference = image.decode(data).astype(int) - reference
    assert np.abs(difference).max() <= 4
