"""Variants side by side: mean, spread, gaps, failures; tables and pictures."""

import io
import json
import re

import cv2
import numpy as np
import pytest
from rich.console import Console

from slan_jax.evaluation import comparison, comparison_pictures
from slan_jax.evaluation.comparison import Row, Run, Table


def make_run(home, seed, value=None, state="done", note=""):
  """A run's directory with scores and curves."""
  directory = home / "runs" / f"seed-{seed}-{value}"
  if value is not None:
    metrics = {
      "retrieval": {"sum_i2t_r1": value, "i2t_r5": 99.0},
      "grounding": {"pointing": 2 * value},
    }
    if value > 40:
      metrics["grounding"]["counterfactual_moved"] = 7.0
    for task, found in metrics.items():
      report = {
        "task": task, "protocol": "", "score": "", "checkpoint_step": 1,
        "config_hash": "", "samples": {}, "metrics": found, "chance": {},
        "untrained": {},
      }  # fmt: skip
      path = directory / "eval" / task / "metrics.json"
      path.parent.mkdir(parents=True)
      path.write_text(json.dumps(report))
    lines = [{"step": s, "r_mean": value + s, "area": 0.1} for s in (0, 10)]
    (directory / "evaluations.jsonl").write_text(
      "".join(json.dumps(line) + "\n" for line in lines)
    )
  return Run(seed, directory, state, note, 60.0 + seed, 120.0)


@pytest.fixture
def table(tmp_path):
  first = [make_run(tmp_path, s, v) for s, v in enumerate((10.0, 20.0, 60.0))]
  second = [
    make_run(tmp_path, 0, 30.0),
    make_run(tmp_path, 1, state="failed", note="went wrong | see log.txt"),
    make_run(tmp_path, 2, state="waiting"),
  ]
  rows = Row("whole", "all", tuple(first)), Row("less", "<one>", tuple(second))
  return Table("t", "A title", rows)


def test_mean_and_spread_by_hand(table):
  row = comparison.summarise(table.rows[0])
  assert row["n"] == 3
  assert row["mean"] == {
    "sum_i2t_r1": 30.0, "pointing": 60.0, "counterfactual_moved": 7.0,
  }  # fmt: skip
  # sqrt((20^2 + 10^2 + 30^2) / 2)
  assert row["std"]["sum_i2t_r1"] == pytest.approx(700**0.5)
  assert "counterfactual_moved" not in row["std"]  # of a single run
  assert (row["wall_seconds"], row["cpu_seconds"]) == (61.0, 120.0)
  row = comparison.summarise(table.rows[1])
  assert row["n"] == 1 and row["std"] == {} and row["mean"]["pointing"] == 60.0
  nothing = comparison.summarise(Row("x", "", table.rows[1].runs[1:]))
  assert nothing["n"] == 0 and nothing["mean"] == {}


def test_files(table, tmp_path):
  made = comparison.write_tables([table], {"steps": 4}, tmp_path)
  read = json.loads((tmp_path / "table.json").read_text())
  assert read == {"steps": 4, "tables": made}
  [_, less] = made[0]["rows"]
  assert [run["state"] for run in less["runs"]] == ["done", "failed", "waiting"]
  assert less["runs"][0]["directory"] == "runs/seed-0-30.0"
  lines = (tmp_path / "table.md").read_text().splitlines()
  rows = [line for line in lines if line.startswith("|")]
  assert rows[0].split(" | ")[3:5] == ["i2t R@1", "pointing"]
  assert rows[2].split(" | ")[2:5] == ["3 done", "30.0 ± 26.5", "60.0 ± 52.9"]
  assert "| less | <one> | 1 done, 1 failed, 1 waiting | 30.0 |" in rows[3]
  assert "- less, seed 1: went wrong | see log.txt" in lines


def test_terminal(table, tmp_path):
  made = comparison.write_tables([table], {}, tmp_path)
  console = Console(width=100, record=True, file=io.StringIO())
  console.print(comparison.terminal_table(made[0]))
  text = console.export_text()
  assert "A title" in text and "30.0 ± 26.5" in text and "1 of 3" in text
  assert "moved" not in text  # the files have every column


def test_a_damaged_score_is_named(table):
  path = table.rows[0].runs[0].directory / "eval/retrieval/metrics.json"
  path.write_text("{")
  with pytest.raises(ValueError, match=r"retrieval/metrics\.json: not JSON"):
    comparison.summarise(table.rows[0])


def test_page_and_picture(table, tmp_path):
  made = comparison.write_tables([table], {}, tmp_path)
  page = comparison_pictures.draw_tables([table], made, tmp_path).read_text()
  assert "&lt;one&gt;" in page and "<one>" not in page
  assert re.findall(r'href="([^"]+)"', page) == [
    "runs/seed-0-10.0/pictures/index.html",
    "runs/seed-1-20.0/pictures/index.html",
    "runs/seed-2-60.0/pictures/index.html",
    "runs/seed-0-30.0/pictures/index.html",
    "runs/seed-1-None/",
  ]
  assert 'src="pictures/t.png"' in page
  picture = cv2.imread(str(tmp_path / "pictures" / "t.png"))
  assert picture.std() > 5
  nothing = Row("x", "", table.rows[1].runs[1:])
  assert not comparison_pictures.draw_rows([nothing], tmp_path / "none.png")
  assert not (tmp_path / "none.png").exists()


def test_curves_are_means_over_the_seeds_that_got_there():
  runs = [
    [{"step": 0, "area": 1.0}, {"step": 5, "area": 3.0}],
    [{"step": 0, "area": 2.0}, {"step": 5, "area": float("nan")}],
  ]
  found = comparison_pictures.means_over_seeds(runs, "area")
  np.testing.assert_array_equal(
    found, [[0, 5], [1.5, 3.0], [1.0, 3.0], [2.0, 3.0]]
  )
