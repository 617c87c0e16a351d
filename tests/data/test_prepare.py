import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from data import pool, prepare, shard, vocabulary
from tests.data.coco_source import encoded, write_source

SMALL = ["--train-size", "4", "--val-size", "2", "--test-size", "3"]
ALONE = ["--workers", "1"]


def run(*arguments):
  return prepare.main([str(argument) for argument in arguments])


def scenes(out, *more):
  return run("scenes", "--out", out, *SMALL, *ALONE, *more)


def digests(directory):
  return {
    path.relative_to(directory).as_posix(): hashlib.md5(
      path.read_bytes()
    ).hexdigest()
    for path in sorted(directory.rglob("*"))
    if path.is_file()
  }


def stamps(directory):
  return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_two_preparations_agree_byte_for_byte(tmp_path):
  assert scenes(tmp_path / "a") == 0
  assert scenes(tmp_path / "b") == 0
  assert digests(tmp_path / "a") == digests(tmp_path / "b")
  assert scenes(tmp_path / "c", "--seed", 1) == 0
  changed = digests(tmp_path / "c")
  for name, digest in digests(tmp_path / "a").items():
    same = not name.startswith(("scenes-", "report", "counter"))
    assert (changed[name] == digest) == same, name


def test_a_prepared_directory_is_whole(tmp_path):
  out = tmp_path / "deep" / "scenes"
  assert scenes(out) == 0
  builder = tfds.builder_from_directory(out)
  sizes = {
    name: info.num_examples for name, info in builder.info.splits.items()
  }
  assert sizes == {"train": 4, "val": 2, "test": 3}
  report = json.loads((out / "report.json").read_text())
  assert report["written"] == sizes and report["read"] == 9
  assert {"tokenizer", "word_classes.json"} <= {p.name for p in out.iterdir()}
  assert [path.name for path in out.parent.iterdir()] == ["scenes"]


def test_a_whole_directory_is_reused(tmp_path, capsys):
  out = tmp_path / "scenes"
  scenes(out)
  before = stamps(out)
  assert scenes(out) == 0
  assert stamps(out) == before
  assert "already prepared" in capsys.readouterr().out


def test_what_is_damaged_is_made_again(tmp_path):
  out = tmp_path / "scenes"
  scenes(out)
  whole = digests(out)
  shard = next(out.glob("*train*"))
  shard.write_bytes(shard.read_bytes()[:-10])
  assert scenes(out) == 0
  assert digests(out) == whole


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch, capsys):
  assert scenes(tmp_path / "whole") == 0
  out, written = tmp_path / "scenes", []

  def interrupted(job, advance):
    if len(written) == 2:
      raise KeyboardInterrupt
    written.append(job.path.name)
    shard.write_shard(job, advance)

  monkeypatch.setattr(pool, "write_shard", interrupted)
  assert scenes(out) == 130
  assert "go on" in capsys.readouterr().err
  assert not out.exists()
  partial = tmp_path / ".scenes.partial"
  kept = {path.name: path.stat().st_mtime_ns for path in partial.glob("*-of-*")}
  assert sorted(kept) == sorted(written)
  # A kill leaves half a file under another name, or a shard without its note.
  (partial / ".killed").mkdir()
  (partial / ".killed" / "half").write_bytes(b"123")
  monkeypatch.undo()
  assert scenes(out) == 0
  for name, stamp in kept.items():
    assert (out / name).stat().st_mtime_ns == stamp
  assert digests(out) == digests(tmp_path / "whole")
  assert {path.name for path in tmp_path.iterdir()} == {"whole", "scenes"}


def test_a_killed_run_leaves_no_process_and_goes_on(tmp_path):
  sizes = ["--train-size=320", "--val-size=2", "--test-size=2", "--shards=5"]
  out, notes = tmp_path / "out", tmp_path / ".out.partial" / ".notes"
  command = [sys.executable, "-m", "data.prepare", "scenes", *sizes]
  with subprocess.Popen(
    [*command, f"--out={out}", "--workers=2"],
    cwd=Path(prepare.__file__).parents[1],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as process:
    while process.poll() is None and not [*notes.glob("*.json")]:
      time.sleep(0.02)
    process.kill()
    # The pipe closes when the last of its processes has ended.
    process.communicate(timeout=60)
  assert not out.exists()
  assert [*notes.glob("*.json")]
  assert run("scenes", *sizes, *ALONE, "--out", out) == 0
  assert run("scenes", *sizes, *ALONE, "--out", tmp_path / "whole") == 0
  assert digests(out) == digests(tmp_path / "whole")


def test_shards_of_another_request_are_not_kept(tmp_path, monkeypatch):
  def full(*rest):
    raise OSError("no space left")

  out = tmp_path / "scenes"
  monkeypatch.setattr(prepare, "_write_words", full)
  assert scenes(out, "--seed", 1) == prepare.USAGE_ERROR
  monkeypatch.undo()
  assert (tmp_path / ".scenes.partial").exists()
  assert scenes(out) == scenes(tmp_path / "whole") == 0
  assert digests(out) == digests(tmp_path / "whole")


def test_an_empty_directory_is_taken(tmp_path):
  (tmp_path / "scenes").mkdir()
  assert scenes(tmp_path / "scenes") == 0


def test_what_an_earlier_version_made_is_completed(tmp_path):
  out = tmp_path / "scenes"
  scenes(out)
  whole = digests(out)
  (out / "counterfactuals.json").unlink()
  report = json.loads((out / "report.json").read_text())
  del report["files"]["counterfactuals.json"]
  (out / "report.json").write_text(json.dumps(report))
  assert scenes(out) == 0
  assert digests(out) == whole


def test_something_else_is_never_touched(tmp_path, capsys):
  (tmp_path / "precious.txt").write_text("thesis")
  assert scenes(tmp_path) == prepare.USAGE_ERROR
  assert "something else" in capsys.readouterr().err
  assert scenes(tmp_path / "precious.txt") == prepare.USAGE_ERROR
  assert (tmp_path / "precious.txt").read_text() == "thesis"


def test_other_settings_are_refused(tmp_path, capsys):
  out = tmp_path / "scenes"
  scenes(out)
  before = stamps(out)
  assert scenes(out, "--seed", 1) == prepare.USAGE_ERROR
  assert '"seed": 0' in capsys.readouterr().err
  assert stamps(out) == before


@pytest.mark.parametrize(
  "arguments",
  [
    ["nothing", "--out", "x"],
    ["scenes"],
    ["scenes", "--out", "x", "--train-size", "0"],
    ["coco_captions", "--out", "x"],
  ],
  ids=["unknown name", "no out", "no scenes", "no source"],
)
def test_bad_usage(arguments, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit) as stopped:
    run(*arguments)
  assert stopped.value.code == prepare.USAGE_ERROR
  shown = capsys.readouterr().err
  if arguments[0] == "nothing":
    assert "scenes_hard" in shown and "coco_captions" in shown
  assert list(tmp_path.iterdir()) == []


@pytest.fixture
def coco(tmp_path):
  source = tmp_path / "source"
  names = ["a.jpg", "b.jpg", "gone.jpg"]
  write_source(
    source,
    {name: encoded(40, 30, seed) for seed, name in enumerate(names[:2])},
    {name: ["a dog runs", "a dog sits"] for name in names},
  )
  return source


def test_coco_captions_learn_a_vocabulary(coco, tmp_path):
  for name in ("one", "two"):
    out = tmp_path / name
    start = ["coco_captions", "--source", coco, "--out", out, *ALONE]
    assert run(*start, "--vocab-size", 60) == 0
  assert digests(tmp_path / "one") == digests(tmp_path / "two")
  report = json.loads((tmp_path / "one" / "report.json").read_text())
  assert report["written"] == {"train": 2}
  assert report["skipped"]["image missing"]["first"] == ["gone.jpg"]
  lines = (tmp_path / "one" / "tokenizer" / "vocab.txt").read_text().split()
  assert {"dog", "runs", "sits"} <= set(lines)


def test_coco_captions_copy_a_tokenizer(coco, tmp_path):
  given = tmp_path / "given"
  vocabulary.write_tokenizer(vocabulary.words_tokenizer(["dog"]), given)
  out = tmp_path / "out"
  arguments = ["coco_captions", "--source", coco, "--out", out, *ALONE]
  assert run(*arguments, "--tokenizer", given) == 0
  assert digests(out / "tokenizer") == digests(given)


def test_a_source_without_usable_pictures_is_refused(tmp_path, capsys):
  source = tmp_path / "source"
  write_source(source, {"a.jpg": b"text"}, {"a.jpg": ["a dog"]})
  out = tmp_path / "out"
  code = run("coco_captions", "--source", source, "--out", out, *ALONE)
  assert code == prepare.USAGE_ERROR
  assert "not an image" in capsys.readouterr().err
  assert not out.exists()


def test_a_bad_source_or_tokenizer_leaves_nothing(coco, tmp_path, capsys):
  out = tmp_path / "out"
  start = ["coco_captions", "--out", out, *ALONE, "--source"]
  assert run(*start, tmp_path / "nowhere") == prepare.USAGE_ERROR
  assert "nowhere" in capsys.readouterr().err
  assert run(*start, coco, "--tokenizer", tmp_path / "none") == 2
  assert "tokenizer.json" in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_any_number_of_workers_writes_the_same(coco, tmp_path):
  start = ["coco_captions", "--source", coco, "--vocab-size", 60, "--shards", 2]
  assert run(*start, "--out", tmp_path / "one", *ALONE) == 0
  assert run(*start, "--out", tmp_path / "two", "--workers", 2) == 0
  assert digests(tmp_path / "one") == digests(tmp_path / "two")
  # The second shard holds only a picture that is missing.
  builder = tfds.builder_from_directory(tmp_path / "one")
  assert builder.info.splits["train"].shard_lengths == [2, 0]
  assert len(builder.as_data_source("train")) == 2
