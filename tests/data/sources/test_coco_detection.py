import json

import numpy as np
import pytest
from etils import epath

from data.errors import PreparationError
from data.sources.coco_detection import CocoDetection
from tests.data.coco_source import encoded
from tests.data.sources.reading import dump, put, read

CATEGORIES = [
  {"supercategory": "person", "id": 1, "name": "person"},
  {"supercategory": "indoor", "id": 90, "name": "toothbrush"},
]


def box(image, category, bbox, crowd=0, number=1):
  return {
    "image_id": image,
    "category_id": category,
    "bbox": bbox,
    "iscrowd": crowd,
    "id": number,
    "area": 1.0,
    "segmentation": [],
  }


def write(folder, annotations, tag="val2017", pictures=(5, 6)):
  images = [
    {"id": n, "file_name": f"{n:012d}.jpg", "width": 40, "height": 30}
    for n in pictures
  ]
  table = {"info": {}, "licenses": [], "images": images}
  table |= {"annotations": annotations, "categories": CATEGORIES}
  dump(folder / "annotations" / f"instances_{tag}.json", table)
  for image in images:
    put(folder / tag / image["file_name"], encoded(40, 30))
  return CocoDetection(epath.Path(folder))


def test_pictures_without_objects_stay(tmp_path):
  rows = [box(5, 90, [10, 15, 20, 15]), box(5, 1, [0, 0, 40, 30], 1)]
  source = write(tmp_path, rows)
  records, lost = read(source)
  assert lost == [] and list(records["val"]) == ["5", "6"]
  objects = records["val"]["5"]["objects"]
  assert objects["label"] == ["toothbrush", "person"]
  assert objects["crowd"].tolist() == [False, True]
  assert records["val"]["5"]["object_areas"].tolist() == [1.0, 1.0]
  np.testing.assert_allclose(objects["box"][0], [0.25, 0.5, 0.75, 1])
  assert records["val"]["6"]["captions"] == []
  kept = json.loads(source.texts()["categories.json"])
  assert kept == [{"id": row["id"], "name": row["name"]} for row in CATEGORIES]
  prompt = source.tokenizer().encode("detect: person, toothbrush").tokens
  assert prompt == [
    "[CLS]",
    *["detect", ":", "person", ",", "toothbrush"],
    "[SEP]",
  ]


def test_broken_rows_are_left_out_and_named(tmp_path):
  rows = [
    box(99, 1, [0, 0, 5, 5], number=1),
    box(5, 2, [0, 0, 5, 5], number=2),
    box(5, 1, [0, 0, 5], number=3),
    box(5, 1, [0, 0, float("nan"), 5], number=4),
    {**box(5, 1, [0, 0, 5, 5], number=5), "area": "large"},
  ]
  source = write(tmp_path, rows)
  records, lost = read(source)
  assert records["val"]["5"]["object_areas"].tolist() == [0.0]
  assert lost == [
    (
      "object of a picture that is not listed",
      "instances_val2017.json: annotation 1",
    )
  ]
  assert len(records["val"]["5"]["objects"]["label"]) == 1
  notes = source.listing().splits["val"][0].notes
  assert notes == (
    "object: dropped, unknown category",
    "box: dropped, not four numbers",
  )


def test_rows_of_another_type_cost_themselves_alone(tmp_path):
  rows = [box(5, 1, [0, 0, 5, 10**400], number=1), box(6, 1, [0, 0, 20, 15])]
  rows += [{**rows[1], "bbox": None}, {**rows[1], "image_id": [5]}, "row"]
  source = write(tmp_path, rows)
  records, lost = read(source)
  assert len(records["val"]["6"]["objects"]["label"]) == 1
  assert len(records["val"]["5"]["objects"]["label"]) == 0
  assert [where for _, where in lost] == [
    f"instances_val2017.json: annotations {number}" for number in (2, 3, 4)
  ]


def test_other_files_are_refused(tmp_path):
  with pytest.raises(PreparationError, match=r"no instances\*\.json"):
    CocoDetection(epath.Path(tmp_path)).listing()
  write(tmp_path, [], "train2014")
  with pytest.raises(PreparationError, match="keep one"):
    write(tmp_path, [], "train2017").listing()


def test_the_sample_of_real_photographs(test_data, tmp_path):
  """Real COCO files where there are some, made-up ones elsewhere."""
  folder = test_data / "coco_sample" if test_data else tmp_path
  if not test_data:
    write(tmp_path, [box(5, 1, [0, 0, 5, 5])])
  records, lost = read(CocoDetection(epath.Path(folder)))
  path = next(folder.rglob("instances*.json"))
  table = json.loads(path.read_text())
  ((_, made),) = records.items()
  assert len(made) == len(table["images"]) and not lost
  stored = sum(len(record["objects"]["label"]) for record in made.values())
  assert stored == len(table["annotations"])


def test_pictures_without_annotations_are_a_split_of_their_own(tmp_path):
  write(tmp_path, [box(5, 1, [0, 0, 5, 5])])
  write(tmp_path, [], "test2017", pictures=(7, 8))
  (tmp_path / "annotations" / "instances_test2017.json").rename(
    tmp_path / "annotations" / "image_info_test-dev2017.json"
  )
  path = tmp_path / "annotations" / "image_info_test-dev2017.json"
  table = json.loads(path.read_text())
  del table["annotations"]
  dump(path, table)
  records, _ = read(CocoDetection(epath.Path(tmp_path)))
  assert list(records) == ["val"]  # unless asked for
  source = CocoDetection(epath.Path(tmp_path))
  source.test_list = path.name
  records, lost = read(source)
  assert lost == [] and list(records) == ["val", "test_dev2017"]
  assert list(records["test_dev2017"]) == ["7", "8"]
  assert records["test_dev2017"]["7"]["objects"]["label"] == []
  (tmp_path / "annotations" / "instances_val2017.json").unlink()
  source = CocoDetection(epath.Path(tmp_path))
  source.test_list = path.name
  assert list(read(source)[0]) == ["test_dev2017"]
  assert [row["id"] for row in json.loads(source.texts()["categories.json"])]
  for name, message in (
    ("image_info_test2014.json", "no such --test-list"),
    ("instances_val.json", "image_info_TAG.json"),
  ):
    source = CocoDetection(epath.Path(tmp_path))
    source.test_list = name
    if "val" in name:
      path.rename(tmp_path / name)
    with pytest.raises(PreparationError, match=message):
      source.listing()
