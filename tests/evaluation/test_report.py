"""metrics.json keeps its form, and is written whole or not at all."""

import json

import pytest

from slan_jax.evaluation import files, report


def outcome():
  return {
    "task": "retrieval", "protocol": "words", "score": "sum",
    "samples": {"images": 2}, "metrics": {"i2t_r1": 50.0},
    "chance": {"i2t_r1": 0.5},
  }  # fmt: skip


def complete(**changes):
  return report.complete(
    outcome() | changes,
    checkpoint_step=7,
    config_hash="abc",
    untrained={"i2t_r1": 1.0},
  )


def test_round_trip_and_stable_keys(tmp_path):
  path = tmp_path / "eval" / "retrieval" / "metrics.json"
  report.write_report(path, complete())
  assert list(json.loads(path.read_text())) == [
    "task", "protocol", "score", "checkpoint_step", "config_hash", "samples",
    "metrics", "chance", "untrained",
  ]  # fmt: skip
  assert report.read_report(path) == complete()
  assert [x.name for x in path.parent.iterdir()] == ["metrics.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "metrics.json"
  report.write_report(path, complete())

  def fail(*_):
    raise OSError("disk full")

  monkeypatch.setattr(files.os, "replace", fail)
  with pytest.raises(OSError, match="disk full"):
    report.write_report(path, complete(score="itm"))
  assert report.read_report(path)["score"] == "sum"
  assert [x.name for x in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"metrics": {"i2t_r1": float("nan")}},
      "metrics.i2t_r1 must be a finite number",
    ),
    ({"metrics": {"i2t_r1": "50"}}, "metrics.i2t_r1 must be a finite number"),
    ({"extra": 1}, r"unknown: \['extra'\]"),
    ({"score": None}, "score must be str"),
  ],
)
def test_bad_reports_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    complete(**changes)


def test_a_torn_file_is_named(tmp_path):
  path = tmp_path / "metrics.json"
  path.write_text('{"task": ')
  with pytest.raises(ValueError, match=r"metrics.json: not JSON"):
    report.read_report(path)


def test_a_second_outcome_joins_the_first():
  second = {
    "protocol": "more", "samples": {"pairs": 1}, "metrics": {"both": 5.0},
    "chance": {"both": 1.0},
  }  # fmt: skip
  found = report.joined(outcome(), second)
  assert found["protocol"] == "words more" and found["score"] == "sum"
  assert found["samples"] == {"images": 2, "pairs": 1}
  assert found["metrics"] == {"i2t_r1": 50.0, "both": 5.0}
  assert found["chance"] == {"i2t_r1": 0.5, "both": 1.0}
