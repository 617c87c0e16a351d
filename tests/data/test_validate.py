import io
import json

import pytest
from etils import epath
from rich.console import Console

from data import prepare, schema, validate
from data.catalog import CATALOG
from data.samples import Sample, source_of
from tests.data.coco_source import encoded, write_source


def write(folder, *entries):
  path = folder / "my.jsonl"
  path.write_text("\n".join(json.dumps(entry) for entry in entries))
  for number, entry in enumerate(entries):
    if "gone" not in entry["image"]:
      (folder / entry["image"]).write_bytes(encoded(80, 70, number))
  return path


@pytest.fixture
def good(tmp_path):
  return write(
    tmp_path,
    {
      "image": "a.jpg",
      "captions": ["a red dog"],
      "objects": [{"label": "dog", "box": [10, 10, 40, 35]}],
      "questions": [{"question": "why?", "answers": ["so"]}],
    },
    {"image": "b.jpg", "captions": ["a cat"], "split": "val"},
  )


def run(capsys, *arguments):
  code = validate.main([str(argument) for argument in arguments])
  shown = capsys.readouterr()
  return code, shown.out, shown.err


def test_a_good_source_passes(good, capsys):
  code, out, _ = run(capsys, good)
  assert code == 0 and "Nothing stands out" in out
  assert "train" in out and "val" in out


def test_what_is_lost_is_listed_and_fails(tmp_path, capsys):
  path = write(
    tmp_path,
    {"image": "a.jpg", "captions": ["a dog"]},
    {"image": "gone[/b].jpg", "captions": ["a cat"]},
    {"image": "cut.jpg", "captions": ["a cow"]},
  )
  (tmp_path / "cut.jpg").write_bytes(encoded(400, 300)[:-300])
  code, out, _ = run(capsys, path)
  assert code == 2
  assert "left out: image missing" in out and "gone[/b].jpg" in out
  assert "cut.jpg" in out


def test_what_cannot_be_opened_fails(tmp_path, capsys):
  code, _, err = run(capsys, tmp_path / "none.jsonl")
  assert code == 2 and "none.jsonl" in err
  code, _, err = run(capsys, tmp_path, "--name", "nlvr2")
  assert code == 2 and "train.json" in err


@pytest.mark.parametrize(
  "name", [name for name, entry in CATALOG.items() if not entry.drawn]
)
def test_every_source_can_be_named(name, tmp_path):
  root = epath.Path(tmp_path)
  assert type(source_of(root, name)) is CATALOG[name].load()


def test_files_of_coco_are_recognised(test_data, tmp_path):
  """Real COCO files where there are some, made-up ones elsewhere."""
  folder = test_data / "coco_sample" if test_data else tmp_path
  if not test_data:
    write_source(tmp_path, {"a.jpg": encoded(40, 30)}, {"a.jpg": ["a dog"]})
  findings = validate.validate(epath.Path(folder))
  table = json.loads((folder / "captions.json").read_text())
  held = findings.splits["train"].held
  assert held["records"] == len(table["images"])
  assert held["captions"] == len(table["annotations"])
  # 863 official boxes: in pixels of their pictures, in the right order.
  assert not [row for row in findings.table() if row.level == "error"]


def test_a_prepared_directory_is_checked_like_its_source(good, tmp_path):
  out = tmp_path / "out"
  arguments = ["manifest", "--source", good, "--out", out, "--workers", 1]
  assert prepare.main([str(argument) for argument in arguments]) == 0
  findings = validate.validate(epath.Path(out))
  assert findings.table() == []
  assert {k: c.held["records"] for k, c in findings.splits.items()} == {
    "train": 1,
    "val": 1,
  }
  assert findings.splits["train"].held["questions"] == 1
  shard = next(out.glob("*train*"))
  shard.write_bytes(shard.read_bytes()[:-1])
  assert validate.main([str(out)]) == 2


def test_numbers_are_shown():
  record = schema.record("a", b"", (80, 70), ["a red dog", "a dog"])
  console = Console(file=io.StringIO(), width=120)
  findings = validate.look_at([Sample("train", "a", record, [])])
  assert validate.show(findings, console) == 0
  shown = " ".join(console.file.getvalue().replace("│", " ").split())
  assert "train 1 2 2.5, at most 3 80x70 80x70" in shown


def test_nothing_usable_fails():
  console = Console(file=io.StringIO())
  assert validate.show(validate.look_at([]), console) == 2
  assert "No usable record" in console.file.getvalue()
