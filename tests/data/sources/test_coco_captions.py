import json

import numpy as np
import pytest
from etils import epath

from data.errors import PreparationError
from data.sources.coco_captions import CocoCaptions, find_files
from tests.data.coco_source import encoded, write_source
from tests.data.reading import counts, read_source

GOOD = encoded(40, 30)


def records(root, split="train"):
  """Records of a split by id, and the counts of all."""
  made, report = read_source(CocoCaptions(epath.Path(root)))
  return {record["id"]: record for record in made.get(split, [])}, report


def test_pictures_keep_their_bytes_and_boxes_become_fractions(tmp_path):
  source = tmp_path / "source"
  write_source(
    source,
    {"a.jpg": GOOD, "b.png": encoded(40, 30, 1, ".png")},
    {"a.jpg": ["a dog", " two  dogs\n"], "b.png": ["a man"]},
    {"a.jpg": [(90, [10, 15, 20, 15], 0), (1, [0, 0, 40, 30], 1)]},
  )
  made, _ = records(source)
  assert list(made) == ["100", "101"]
  assert made["100"]["image"] == GOOD
  assert made["101"]["image"][:4] == b"\x89PNG"
  assert made["100"]["captions"] == ["a dog", "two dogs"]
  assert made["100"]["objects"]["label"] == ["dog", "person"]
  np.testing.assert_allclose(
    made["100"]["objects"]["box"], [[0.25, 0.5, 0.75, 1], [0, 0, 1, 1]]
  )
  assert made["100"]["objects"]["crowd"].tolist() == [False, True]
  assert made["101"]["objects"]["label"] == []


def test_unusable_pictures_are_left_out_counted_and_named(tmp_path):
  source = tmp_path / "source"
  write_source(
    source,
    {
      "cut.jpg": encoded(400, 300)[:-200],
      "good.jpg": GOOD,
      "mute.jpg": GOOD,
      "text.jpg": b"not a picture",
      "tiny.jpg": encoded(7, 30),
    },
    {
      name: ["a dog"]
      for name in ("cut.jpg", "gone.jpg", "good.jpg", "text.jpg", "tiny.jpg")
    }
    | {"mute.jpg": ["  "]},
  )
  made, report = records(source)
  assert len(made) == 1 and report.read == 6
  assert report.skipped == {
    "image cut short": {"count": 1, "first": ["100"]},
    "not an image": {"count": 1, "first": ["104"]},
    "image missing": {"count": 1, "first": ["gone.jpg"]},
    "image under 8 pixels": {"count": 1, "first": ["105"]},
    "no caption": {"count": 1, "first": ["103"]},
  }


def test_boxes_that_cannot_be_right_are_left_out(tmp_path):
  source = tmp_path / "source"
  write_source(
    source,
    {"a.jpg": GOOD, "b.jpg": encoded(80, 60)},
    {"a.jpg": ["x"], "b.jpg": ["x"]},
    {
      "a.jpg": [
        (1, [50, 0, 5, 5], 0),
        (1, [4, 4, 0, 3], 0),
        (1, [30, 20, 90, 90], 0),
      ],
      "b.jpg": [(1, [0, 0, 5, 5], 0)],  # stated as 40x30
    },
  )
  made, report = records(source)
  np.testing.assert_allclose(
    made["100"]["objects"]["box"], [[0.75, 2 / 3, 1, 1]], rtol=1e-6
  )
  assert made["101"]["objects"]["label"] == []
  assert {key: row["count"] for key, row in report.repaired.items()} == {
    "box: dropped, empty or outside": 2,
    "box: clipped to the picture": 1,
    "boxes: dropped, picture differs in size": 1,
  }


def test_official_layout_has_splits(tmp_path):
  for tag, name in (("train2017", "a.jpg"), ("val2017", "b.jpg")):
    write_source(tmp_path, {name: GOOD}, {name: [f"in {tag}"]}, tag=tag)
  (tmp_path / "annotations").mkdir()
  for path in tmp_path.glob("captions_*.json"):
    path.rename(tmp_path / "annotations" / path.name)
  assert list(find_files(epath.Path(tmp_path))) == ["train", "val"]
  for split in ("train", "val"):
    made, _ = records(tmp_path, split)
    assert made["100"]["captions"] == [f"in {split}2017"]


def test_karpathys_list_decides_the_splits(tmp_path):
  rows = [("restval", "val2014"), ("test", "val2014"), ("train", "train2014")]
  images = []
  for number, (split, folder) in enumerate(rows):
    name = f"COCO_{folder}_{number:012d}.jpg"
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / name).write_bytes(GOOD)
    images.append(
      {
        "filepath": folder,
        "filename": name,
        "imgid": number,
        "cocoid": 500 + number,
        "split": split,
        "sentids": [number],
        "sentences": [{"raw": f"picture {number}.", "tokens": ["picture"]}],
      }
    )
  # A picture that is in a list of boxes, and one whose folder is not there.
  boxes = {
    "images": [{"id": 502, "file_name": "x", "width": 40, "height": 30}],
    "categories": [{"id": 18, "name": "dog"}],
    "annotations": [
      {"image_id": 502, "category_id": 18, "bbox": [0, 0, 20, 15]}
    ],
  }
  (tmp_path / "instances_train2014.json").write_text(json.dumps(boxes))
  table = {"images": images, "dataset": "coco"}
  (tmp_path / "dataset_coco.json").write_text(json.dumps(table))
  source = CocoCaptions(epath.Path(tmp_path))
  assert [split for split, _ in source.items()] == ["train", "train", "test"]
  made, report = records(tmp_path)
  assert list(made) == ["500", "502"] and report.read == 3
  assert made["502"]["objects"]["label"] == ["dog"]
  np.testing.assert_allclose(made["502"]["objects"]["box"], [[0, 0, 0.5, 0.5]])
  assert records(tmp_path, "test")[0]["501"]["captions"] == ["picture 1."]


def test_a_list_of_splits_leads_nowhere_else(tmp_path):
  root = tmp_path / "in"
  (root / "val2014").mkdir(parents=True)
  (tmp_path / "out").mkdir()
  for place in (root / "val2014", tmp_path / "out"):
    (place / "a.jpg").write_bytes(GOOD)
  row = {"filename": "a.jpg", "sentences": [{"raw": "a dog"}]}
  rows = [("val2014", "val"), ("../out", "val"), ("val2014", "../../out")]
  images = [
    {**row, "filepath": folder, "split": split, "cocoid": number}
    for number, (folder, split) in enumerate(rows)
  ]
  (root / "dataset_coco.json").write_text(json.dumps({"images": images}))
  made, report = read_source(CocoCaptions(epath.Path(root)))
  assert {s: [r["id"] for r in rows] for s, rows in made.items()} == {
    "val": ["0"]
  }
  assert counts(report) == {
    "split is not a plain word": 1,
    "path leaves the source": 1,
  }


def test_a_broken_row_costs_itself_alone(tmp_path):
  write_source(tmp_path, {"a.jpg": GOOD}, {"a.jpg": ["x"]})
  path = tmp_path / "captions.json"
  table = json.loads(path.read_text())
  table["images"] += [3, {"id": 7}, {"id": [1], "file_name": "a.jpg"}]
  table["annotations"] += [None, {"image_id": {}}, {"image_id": 9}]
  path.write_text(json.dumps(table))
  made, report = records(tmp_path)
  assert made["100"]["captions"] == ["x"]
  assert counts(report) == {
    "image without a name": 2,
    "no caption": 1,
    "caption without a picture": 1,
  }


def test_two_files_for_one_split_are_refused(tmp_path):
  for tag in ("train2014", "train2017"):
    write_source(tmp_path, {}, {"a.jpg": ["x"]}, tag=tag)
  with pytest.raises(PreparationError, match="keep one"):
    find_files(epath.Path(tmp_path))


@pytest.mark.parametrize(
  "text", ["{", "[]", '{"images": 3, "annotations": []}'], ids=len
)
def test_another_format_is_refused(tmp_path, text):
  (tmp_path / "captions.json").write_text(text)
  with pytest.raises(PreparationError, match=r"captions\.json"):
    records(tmp_path)


def test_a_missing_source_is_refused(tmp_path):
  with pytest.raises(PreparationError, match="not a directory"):
    records(tmp_path / "nowhere")
  with pytest.raises(PreparationError, match="captions"):
    find_files(epath.Path(tmp_path))


def test_the_sample_of_real_photographs(test_data, tmp_path):
  """Real COCO files where there are some, made-up ones elsewhere."""
  source = test_data / "coco_sample" if test_data else tmp_path / "source"
  if not test_data:
    names = [f"{number}.jpg" for number in range(5)]
    write_source(
      source,
      {name: encoded(40, 30, seed) for seed, name in enumerate(names)},
      {name: [f"a dog {name}", "a cat"] for name in names},
      {name: [(1, [1, 2, 3, 4], 0)] for name in names},
    )
  table = json.loads((source / "captions.json").read_text())
  made, report = records(source)
  assert len(made) == len(table["images"]) and not report.skipped
  assert not any(note.startswith("image") for note in report.repaired)
  captions = sum(len(record["captions"]) for record in made.values())
  assert captions == len(table["annotations"])
  boxes = json.loads((source / "instances.json").read_text())["annotations"]
  stored = [record["objects"] for record in made.values()]
  assert sum(len(objects["label"]) for objects in stored) == len(boxes)
  crowds = sum(objects["crowd"].sum() for objects in stored)
  assert crowds == sum(box["iscrowd"] for box in boxes)


def test_pictures_without_captions_are_a_split_of_their_own(tmp_path):
  write_source(tmp_path, {"a.jpg": GOOD}, {"a.jpg": ["x"]}, tag="val2014")
  write_source(tmp_path, {"b.jpg": GOOD}, {}, tag="test2014", first=7)
  path = tmp_path / "image_info_test2014.json"
  (tmp_path / "captions_test2014.json").rename(path)
  assert list(read_source(CocoCaptions(epath.Path(tmp_path)))[0]) == ["val"]
  source = CocoCaptions(epath.Path(tmp_path))
  source.test_list = path.name
  made, report = read_source(source)
  assert list(made) == ["val", "test2014"] and not report.skipped
  (record,) = made["test2014"]
  assert record["id"] == "7" and record["captions"] == []
  (tmp_path / "captions_val2014.json").unlink()
  assert list(read_source(source)[0]) == ["test2014"]
