import json

import numpy as np
import pytest

from data.coco_captions import CocoCaptions, find_files
from data.errors import PreparationError
from tests.data.coco_source import encoded, write_source

GOOD = encoded(40, 30)


def build(source, tmp_path):
  return CocoCaptions(source=source, data_dir=tmp_path / "tfds")


def records(builder, split="train"):
  return {record["id"]: record for record in builder.records(split)}


def test_pictures_keep_their_bytes_and_boxes_become_fractions(tmp_path):
  source = tmp_path / "source"
  write_source(
    source,
    {"a.jpg": GOOD, "b.png": encoded(40, 30, 1, ".png")},
    {"a.jpg": ["a dog", " two  dogs\n"], "b.png": ["a man"]},
    {"a.jpg": [(90, [10, 15, 20, 15], 0), (1, [0, 0, 40, 30], 1)]},
  )
  made = records(build(source, tmp_path))
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
  builder = build(source, tmp_path)
  assert len(records(builder)) == 1
  assert builder.report.read == 6
  assert builder.report.skipped == {
    "image corrupt": {"count": 2, "first": ["cut.jpg", "text.jpg"]},
    "image missing": {"count": 1, "first": ["gone.jpg"]},
    "image under 8 pixels": {"count": 1, "first": ["tiny.jpg"]},
    "no caption": {"count": 1, "first": ["mute.jpg"]},
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
  builder = build(source, tmp_path)
  made = records(builder)
  np.testing.assert_allclose(
    made["100"]["objects"]["box"], [[0.75, 2 / 3, 1, 1]], rtol=1e-6
  )
  assert made["101"]["objects"]["label"] == []
  reasons = {key: row["count"] for key, row in builder.report.skipped.items()}
  assert reasons == {
    "box: empty or outside": 2,
    "boxes: picture differs in size": 1,
  }


def test_official_layout_has_splits(tmp_path):
  for tag, name in (("train2017", "a.jpg"), ("val2017", "b.jpg")):
    write_source(tmp_path, {name: GOOD}, {name: [f"in {tag}"]}, tag=tag)
  (tmp_path / "annotations").mkdir()
  for path in tmp_path.glob("captions_*.json"):
    path.rename(tmp_path / "annotations" / path.name)
  assert list(find_files(tmp_path)) == ["train", "val"]
  builder = build(tmp_path, tmp_path)
  assert builder.split_sizes() == {"train": 1, "val": 1}
  assert records(builder, "val")["100"]["captions"] == ["in val2017"]
  assert list(builder.captions()) == ["in train2017"]


def test_two_files_for_one_split_are_refused(tmp_path):
  for tag in ("train2014", "train2017"):
    write_source(tmp_path, {}, {"a.jpg": ["x"]}, tag=tag)
  with pytest.raises(PreparationError, match="keep one"):
    find_files(tmp_path)


@pytest.mark.parametrize(
  "text", ["{", "[]", '{"images": [{"id": 1}], "annotations": []}'], ids=len
)
def test_another_format_is_refused(tmp_path, text):
  (tmp_path / "captions.json").write_text(text)
  with pytest.raises(PreparationError, match=r"captions\.json"):
    build(tmp_path, tmp_path)


def test_a_missing_source_is_refused(tmp_path):
  with pytest.raises(PreparationError, match="not a directory"):
    find_files(tmp_path / "nowhere")
  with pytest.raises(PreparationError, match="captions"):
    find_files(tmp_path)


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
  builder = build(source, tmp_path)
  made = records(builder)
  assert len(made) == len(table["images"]) and not builder.report.skipped
  captions = sum(len(record["captions"]) for record in made.values())
  assert captions == len(table["annotations"])
  boxes = json.loads((source / "instances.json").read_text())["annotations"]
  stored = [record["objects"] for record in made.values()]
  assert sum(len(objects["label"]) for objects in stored) == len(boxes)
  crowds = sum(objects["crowd"].sum() for objects in stored)
  assert crowds == sum(box["iscrowd"] for box in boxes)
