import json

import numpy as np
import pytest
from etils import epath

from data import prepare
from data.assembly import assemble
from data.errors import PreparationError
from data.source import Skip
from data.sources.manifest import Manifest, read_manifest
from slan_jax.input.source import EvaluationSource, TrainingSource
from tests.data.coco_source import encoded

BOX = [10, 15, 30, 30]


def write(path, *entries):
  path.write_text("\n".join(json.dumps(entry) for entry in entries))
  return epath.Path(path)


def listing(path, **options):
  return read_manifest(epath.Path(path), **options)


def read(source):
  """Records and reasons, in order."""
  found = [x for item in source.items() for x in source.read(*item)]
  return [x if isinstance(x, Skip) else assemble(x) for x in found]


def test_pictures_become_records(tmp_path):
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "a.jpg").write_bytes(encoded(40, 30))
  (tmp_path / "b.png").write_bytes(encoded(40, 30, ending=".png"))
  path = write(
    tmp_path / "my.jsonl",
    {
      "image": "in/a.jpg",
      "captions": ["a red dog"],
      "phrases": [{"text": "a red dog", "boxes": [BOX, [0, 0, 90, 90]]}],
    },
    {"image": str(tmp_path / "b.png"), "objects": [{"label": "x", "box": BOX}]},
    {"image": "gone.jpg", "captions": ["a cat"]},
    {"image": "in/a.jpg", "id": "mute"},
    {"captions": ["no picture"]},
  )
  lost, (first, notes), (second, _), gone, mute = read(Manifest(path))
  assert lost == ("no image path", "my.jsonl:5")
  assert gone == ("image missing", "gone.jpg")
  assert mute == ("no captions, no objects, no questions", "mute")
  assert first["captions"] == ["a red dog"] and first["id"] == "in/a.jpg"
  np.testing.assert_allclose(
    first["phrase_boxes"]["box"], [[0.25, 0.5, 0.75, 1], [0, 0, 1, 1]]
  )
  assert notes == ["box: clipped to the picture"]
  np.testing.assert_allclose(second["objects"]["box"], [[0.25, 0.5, 0.75, 1]])
  assert second["captions"] == []


def test_entries_of_one_picture_are_joined(tmp_path):
  path = write(
    tmp_path / "my.jsonl",
    {"image": "a.jpg", "caption": "a dog"},
    {"image": "a.jpg", "caption": "a cat", "phrases": [{"text": "a cat"}]},
    {"image": "a.jpg", "caption": "a cow", "id": "other"},
    {"image": "a.jpg", "caption": "a hen", "id": "other"},
  )
  made = listing(path)
  joined, other = made.splits["train"]
  assert joined.captions == ("a dog", "a cat")
  assert joined.phrases[0].caption == 1
  assert other.captions == ("a cow",)
  assert made.problems == [("id repeated, the first one kept", "other")]


def test_splits_by_entry_by_file_and_by_share(tmp_path):
  path = write(
    tmp_path / "my.jsonl",
    *[{"image": f"{n}.jpg", "caption": "a dog"} for n in range(200)],
    {"image": "t.jpg", "caption": "a dog", "split": "test"},
    {"image": "u.jpg", "caption": "a dog", "split": "../x"},
    {"image": "v.jpg", "caption": "a dog", "split": "é" * 300},
    {"image": "w\ud800.jpg", "caption": "a dog", "split": "val"},
  )
  made = listing(path, val_fraction=0.25)
  sizes = {split: len(rows) for split, rows in made.splits.items()}
  assert list(sizes) == ["train", "val", "test"] and sizes["test"] == 1
  assert sizes["train"] + sizes["val"] == 201 and 30 < sizes["val"] < 70
  assert made.problems == [
    ("split is not a plain word", f"my.jsonl:{line}") for line in (202, 203)
  ]
  held_out = {row.name for row in made.splits["val"]} - {"w\ud800.jpg"}
  more = write(
    tmp_path / "my.jsonl",
    *[{"image": f"{n}.jpg", "caption": "a dog"} for n in range(300)],
  )
  later = {row.name for row in listing(more, val_fraction=0.25).splits["val"]}
  assert held_out <= later

  folder = tmp_path / "folder"
  (folder / "val").mkdir(parents=True)
  (folder / "val" / "a.jpg").touch()
  (folder / "val" / "a.txt").write_text("a dog")
  (folder / "credits.csv").write_text("who,what\n")
  write(folder / "train.jsonl", {"image": "b.jpg", "caption": "a cat"})
  splits = listing(folder).splits
  assert list(splits) == ["train", "val"]
  assert splits["val"][0].folders == ("val",)
  (folder / "val.csv").touch()
  with pytest.raises(PreparationError, match=r"val and val\.csv"):
    listing(folder)


def boxes(*values):
  return {
    "image": "a.jpg",
    "objects": [{"label": "dog", "box": box} for box in values],
  }


def test_boxes_of_another_form_stop_at_once(tmp_path):
  path = tmp_path / "my.jsonl"
  write(path, boxes([0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1, 1], [3, 4, 5, 6]))
  with pytest.raises(PreparationError, match="2 of 3 boxes lie within"):
    listing(path)
  xywh = [[300, 200, 50, 60], [10, 10, 50, 60]] * 5
  with pytest.raises(PreparationError, match=r"5 of 10 .* x, y, width"):
    listing(write(path, boxes(*xywh)))
  # One slip among many is left out and noted, nothing more.
  (row,) = listing(write(path, boxes(*[BOX] * 9, [9, 9, 1, 1]))).splits["train"]
  assert len(row.objects) == 9 and len(row.notes) == 1


def test_what_holds_nothing_is_refused(tmp_path):
  with pytest.raises(PreparationError, match=r"expected a folder or a file"):
    listing(tmp_path / "none.jsonl")
  (tmp_path / "my.jsonl").write_text("{\n")
  with pytest.raises(PreparationError, match=r"not JSON \(my\.jsonl:1\)"):
    Manifest(epath.Path(tmp_path / "my.jsonl")).listing()
  with pytest.raises(PreparationError, match="no usable entry"):
    Manifest(epath.Path(tmp_path)).listing()


def test_turned_photographs_are_boxed_as_they_are_seen(tmp_path):
  """EXIF 6: stored 40x30, seen 30x40, and so annotated."""
  import io

  from PIL import Image

  with Image.open(io.BytesIO(encoded(40, 30))) as picture:
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
  path = write(tmp_path / "my.jsonl", boxes([0, 20, 15, 40]))
  ((record, _),) = read(Manifest(path))
  assert (record["width"], record["height"]) == (30, 40)
  np.testing.assert_allclose(record["objects"]["box"], [[0, 0.5, 0.5, 1]])


def test_training_and_scoring_read_what_was_prepared(tmp_path, capsys):
  image = encoded(40, 30)
  (tmp_path / "a.jpg").write_bytes(image)
  phrase = {"text": "red dog", "caption": 1, "boxes": [BOX]}
  entry = {"image": "a.jpg", "captions": ["a cat", "a red dog"]}
  entry |= {"phrases": [phrase], "questions": [{"question": "why?"}]}
  path = write(tmp_path / "my.jsonl", entry)
  out = tmp_path / "out"
  arguments = ["manifest", "--source", path, "--out", out, "--workers", 1]
  arguments = [str(argument) for argument in arguments]
  assert prepare.main(arguments) == 0
  assert TrainingSource(out, "train")[0].captions == ["a cat", "a red dog"]
  found = EvaluationSource(out, "train")[0]
  assert found.record.id == "a.jpg" and found.record.image == image
  assert found.phrases[0].caption == 1 and found.phrases[0].span == (2, 9)
  np.testing.assert_allclose(found.phrases[0].boxes, [[0.25, 0.5, 0.75, 1]])
  assert prepare.main(arguments) == 0
  assert "already prepared" in capsys.readouterr().out
  write(path, {**entry, "captions": ["a hen"]})  # another source
  assert prepare.main(arguments) == prepare.USAGE_ERROR
  assert "source_digest" in capsys.readouterr().err
