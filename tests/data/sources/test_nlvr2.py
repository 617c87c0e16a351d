import json

import pytest
from etils import epath

from data.errors import PreparationError
from data.sources.nlvr2 import Nlvr2
from tests.data.coco_source import encoded
from tests.data.sources.reading import put, read


def line(name, label="True", sentence="One dog is  left of a cat.", **more):
  entry = {"sentence": sentence, "label": label, "identifier": name, **more}
  return json.dumps(entry | {"left_url": "l", "right_url": "r", "writer": "1"})


def pictures(folder, start):
  put(folder / f"{start}-img0.png", encoded(40, 30, 0, ".png"))
  put(folder / f"{start}-img1.png", encoded(20, 60, 1))  # named so all the same


def test_a_statement_has_a_left_and_a_right_picture(tmp_path):
  images = tmp_path / "images"
  pictures(images / "train" / "72", "train-10171-0")
  pictures(images / "dev", "dev-850-3")
  (tmp_path / "train.json").write_text(
    line("train-10171-0-0", "False", directory=72, synset="dog")
  )
  (tmp_path / "dev.json").write_text(line("dev-850-3-1") + "\n")
  records, lost = read(Nlvr2(epath.Path(tmp_path)))
  assert lost == [] and list(records) == ["train", "val"]
  record = records["train"]["train-10171-0-0"]
  assert record["image"][:4] == b"\x89PNG" and record["width"] == 40
  assert record["more_images"]["image"] == [encoded(20, 60, 1)]
  assert record["more_images"]["height"].tolist() == [60]
  assert record["captions"] == []  # it may be false
  assert record["statements"]["text"] == ["One dog is left of a cat."]
  assert record["statements"]["true"].tolist() == [False]
  assert records["val"]["dev-850-3-1"]["statements"]["true"].tolist() == [True]


def test_the_pairs_of_a_sentence_are_one_group(tmp_path):
  names = ["test1-4-0-0", "test1-4-2-0", "test1-4-0-1", "test1-5-0-0"]
  (tmp_path / "data").mkdir()
  text = "\n".join(line(name) for name in names)
  (tmp_path / "data" / "test1.json").write_text(text)
  rows = Nlvr2(epath.Path(tmp_path)).listing().splits["test"]
  groups = [row.statements[0].group for row in rows]
  assert groups == ["test1-4-0", "test1-4-0", "test1-4-1", "test1-5-0"]


def test_broken_lines_and_missing_pictures_are_named(tmp_path):
  pictures(tmp_path / "dev", "dev-1-0")
  (tmp_path / "dev" / "dev-1-0-img1.png").unlink()
  pictures(tmp_path / "dev", "dev-1-1")
  put(tmp_path / "dev" / "dev-1-1-img1.png", b"text")
  lines = ["{", line("dev-1"), line("dev-1-0-0", "maybe"), "[]"]
  lines += [
    line("dev-1-0-0"),
    line("dev-1-1-0"),
    line("dev-1-2-0", sentence=""),
  ]
  (tmp_path / "dev.json").write_text("\n".join(lines))
  _, lost = read(Nlvr2(epath.Path(tmp_path)))
  wrong = "line is not an example of NLVR2"
  assert lost == [
    *[(wrong, f"dev.json:{number}") for number in (1, 2, 3, 4)],
    ("statement without text", "dev.json:7"),
    ("image missing", "dev-1-0-0"),
    ("not an image", "dev-1-1-0"),
  ]


def test_an_empty_directory_is_refused(tmp_path):
  with pytest.raises(PreparationError, match=r"none of train\.json"):
    Nlvr2(epath.Path(tmp_path)).listing()
