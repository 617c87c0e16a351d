import json

import numpy as np
import pytest
from etils import epath

from data.errors import PreparationError
from data.sources.visual_genome import VisualGenome
from tests.data.coco_source import encoded
from tests.data.reading import counts, read_source
from tests.data.sources.reading import dump, put


def region(number, phrase, box, picture=1):
  x, y, width, height = box
  return {
    "region_id": number,
    "image_id": picture,
    "phrase": phrase,
    "x": x,
    "y": y,
    "width": width,
    "height": height,
  }


def write(folder):
  """Five pictures with regions, two of them COCO's."""
  pictures = [
    {
      "image_id": number,
      "url": f"https://example.com/VG_100K{folder}/{number}.jpg",
      "width": 40,
      "height": 30,
      "coco_id": coco,
      "flickr_id": None,
    }
    for number, folder, coco in (
      (1, "_2", None),
      (2, "", 61512),
      (3, "", 2),
      (4, "", None),
    )
  ]
  regions = [
    {
      "id": 1,
      "regions": [
        region(10, "the clock is green ", [0, 0, 20, 15]),
        region(11, "a man", [20, 15, 30, 30]),
        region(12, "a man", [10, 0, 10, 30]),
        region(13, "nowhere", [50, 0, 10, 10]),
        region(14, " ", [0, 0, 10, 10]),
      ],
    },
    {"id": 2, "regions": [region(20, "x", [0, 0, 1, 1], 2)]},
    {"id": 3, "regions": [region(30, "y", [0, 0, 1, 1], 3)]},
    {"id": 4, "regions": []},
    {"id": 5, "regions": [region(50, "unlisted", [0, 0, 1, 1], 5)]},
  ]
  dump(folder / "image_data.json", pictures)
  dump(folder / "region_descriptions.json", regions)
  for place, numbers in (("VG_100K", (2, 3, 4, 5)), ("VG_100K_2", (1,))):
    for number in numbers:
      put(folder / place / f"{number}.jpg", encoded(40, 30, number))
  return epath.Path(folder)


@pytest.fixture
def root(tmp_path):
  return write(tmp_path)


def test_regions_become_captions_with_boxes(root):
  records, report = read_source(VisualGenome(root))
  first, unlisted = records["train"]
  assert first["captions"] == ["the clock is green", "a man", "nowhere"]
  assert first["phrases"]["text"] == first["captions"]
  assert first["phrase_boxes"]["phrase"].tolist() == [0, 1, 1]
  np.testing.assert_allclose(
    first["phrase_boxes"]["box"],
    [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.25, 0, 0.5, 1]],
  )
  # Without an entry in image_data.json its size is not known, nor its boxes.
  assert unlisted["captions"] == ["unlisted"]
  assert len(unlisted["phrase_boxes"]["box"]) == 0
  assert counts(report) == {"also in COCO": 2, "no caption": 1}


def test_only_pictures_of_cocos_test_may_be_left_out(root):
  images = [
    {"cocoid": 61512, "split": "train"},
    {"cocoid": 2, "split": "test"},
  ]
  path = root / "dataset_coco.json"
  path.write_text(json.dumps({"images": images}))
  records, report = read_source(VisualGenome(root, path))
  assert [r["id"] for r in records["train"]] == ["1", "2", "5"]
  assert report.skipped["also in COCO"]["first"] == ["3.jpg"]
  path.write_text("[]")
  with pytest.raises(PreparationError, match="coco-splits"):
    read_source(VisualGenome(root, path))


@pytest.mark.parametrize(
  ("text", "message"),
  [("[{", "not JSON"), (None, "lacks")],
)
def test_another_format_is_refused(root, text, message):
  path = root / "region_descriptions.json"
  path.unlink()
  if text is not None:
    path.write_text(text)
  with pytest.raises(PreparationError, match=message):
    read_source(VisualGenome(root))
