"""Two runs' losses side by side, by hand."""

import json
import sys

import cv2
import numpy as np
import pytest

from benchmarks import precision


def write(folder, losses):
  folder.mkdir()
  lines = [json.dumps({"step": 2 * i, "itc": v}) for i, v in enumerate(losses)]
  (folder / "metrics.jsonl").write_text("\n".join(lines))
  return folder


def test_means_and_gap_by_hand(tmp_path, monkeypatch, capsys):
  first = write(tmp_path / "a", [4.0] * 8)
  second = write(tmp_path / "b", [4.0] * 4 + [5.0] * 4)
  pair = precision.compare(first, second)["itc"]
  assert pair.last_quarter() == (4.0, 5.0)
  assert pair.largest_gap() == pytest.approx(0.25)
  picture = tmp_path / "curves.png"
  arguments = [str(first), str(second), f"--output={picture}"]
  monkeypatch.setattr(sys, "argv", ["precision", *arguments])
  precision.main()
  assert "| ITC | 4.000 | 5.000 | 25.0 % |" in capsys.readouterr().out
  assert np.ptp(cv2.imread(str(picture))) > 0


def test_runs_that_do_not_compare_are_named(tmp_path):
  first = write(tmp_path / "a", [4.0] * 8)
  shorter = write(tmp_path / "b", [4.0] * 7)
  assert len(precision.compare(first, shorter)["itc"].steps) == 7
  other = tmp_path / "d"
  other.mkdir()
  (other / "metrics.jsonl").write_text('{"step": 1, "itc": 4.0}')
  with pytest.raises(ValueError, match="itc at different steps"):
    precision.compare(first, other)
  empty = write(tmp_path / "c", [])
  with pytest.raises(ValueError, match="no losses"):
    precision.compare(empty, empty)
