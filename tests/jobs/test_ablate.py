"""The ablation job with a stub in place of Python: plan, resume, tables."""

import collections
import functools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from slan_jax.jobs import ablate, trials, workdir

STUB = Path(__file__).with_name("stub.py")
ROWS = ("6-off", "6-top10")


@pytest.fixture
def run(scenes, tmp_path, monkeypatch):
  """(*arguments) -> exit code; `run.calls()` -> (job, row, seed) so far.

  `run.drawn` holds what was to be drawn, each time.
  """
  monkeypatch.setattr(trials, "PYTHON", (sys.executable, "-S", str(STUB)))
  monkeypatch.setenv("STUB_CALLS", str(tmp_path / "calls"))
  (tmp_path / "calls").touch()
  drawn = []  # pictures take their time, and have tests of their own
  monkeypatch.setattr(
    ablate, "draw_tables", lambda tables, made, output: drawn.append(made)
  )

  @functools.cache
  def configure(tables: str, seeds: int) -> None:
    """Writes every run's config.json, as training would."""
    request = trials.Request(
      Path("configs/ablations.py"), tuple(tables.split(",")), seeds,
      tmp_path / "out", steps=4, data=scenes,
    )  # fmt: skip
    for trial in trials.plan(request)[1]:
      workdir.write(trial.directory, trial.experiment)

  def main(*arguments: str, tables: str = ",".join(ROWS), seeds: int = 2):
    output = tmp_path / "out"
    configure(tables, seeds)
    return ablate.main(
      [f"--tables={tables}", f"--seeds={seeds}", "--steps=4",
       f"--data={scenes}", f"--output={output}", *arguments]
    )  # fmt: skip

  main.drawn = drawn
  main.output = tmp_path / "out"
  main.calls = lambda: [
    line.split() for line in (tmp_path / "calls").read_text().splitlines()
  ]
  return main


def rows(run) -> dict:
  table = json.loads((run.output / "table.json").read_text())["tables"][0]
  return {row["name"]: row for row in table["rows"]}


def test_all_is_run_once_and_compared(run, capsys):
  assert run() == 0
  calls = run.calls()
  # All rows of a seed come before the next seed; one job after the other.
  order = [(row, seed) for job, row, seed in calls if job == "train"]
  assert order == [(row, seed) for seed in "01" for row in ROWS]
  assert [job for job, row, seed in calls if (row, seed) == order[0]] == [
    "train", "evaluate", "evaluate", "report",
  ]  # fmt: skip
  found = rows(run)["off"]
  assert found["n"] == 2
  expected = dict.fromkeys(
    ("sum_i2t_r1", "itc_t2i_r1", "grounding_r1", "counterfactual"),
    20.5,
  )
  assert found["mean"] == expected  # i2t_r5 is no column
  assert found["std"]["grounding_r1"] == pytest.approx(0.5**0.5)
  assert found["wall_seconds"] > 0 and found["cpu_seconds"] > 0
  assert "20.5 ± 0.7" in (run.output / "table.md").read_text()
  assert [table["rows"][0]["n"] for [table] in run.drawn] == [0, 1, 1, 2, 2]
  assert "20.5 ± 0.7" in capsys.readouterr().out

  before = (run.output / "table.json").read_text()
  assert run() == 0
  assert run.calls() == calls
  assert (run.output / "table.json").read_text() == before


def test_a_failed_run_is_told_and_tried_again(run, monkeypatch, capsys):
  monkeypatch.setenv("STUB_FAIL", "6-off")
  assert run(seeds=1) == 3
  log = run.output / "runs" / "6-off" / "seed-0" / "log.txt"
  assert "out of luck" in log.read_text()
  [failed], [done] = (rows(run)[name]["runs"] for name in ("off", "top10"))
  assert (failed["state"], done["state"]) == ("failed", "done")
  assert failed["note"] == f"training ended with code 1, see {log}"
  assert str(log) in (run.output / "table.md").read_text()
  assert f"failed: {log.parent}" in capsys.readouterr().out
  monkeypatch.delenv("STUB_FAIL")
  assert run(seeds=1) == 0
  trained = [row for job, row, _ in run.calls() if job == "train"]
  assert trained == ["6-off", "6-top10", "6-off"]


def test_scores_that_are_missing_are_made(run):
  assert run(seeds=1, tables="6-off") == 0
  home = run.output / "runs" / "6-off" / "seed-0"
  (home / "eval" / "grounding" / "metrics.json").write_text("{")
  assert run(seeds=1, tables="6-off") == 0
  jobs = [job for job, _, _ in run.calls()]
  assert jobs == ["train", "evaluate", "evaluate", "report", "evaluate"]


def test_no_run_begins_beyond_the_budget(run, capsys):
  assert run("--budget=0") == 3
  assert run.calls() == []
  assert {r["state"] for r in rows(run)["off"]["runs"]} == {"waiting"}
  assert "0 of 4 runs are done" in capsys.readouterr().out


def test_a_signal_reaches_every_child_and_the_rest_is_left(run, monkeypatch):
  monkeypatch.setenv("STUB_WAIT", "1")
  ready = [run.output / "runs" / row / "seed-0" / "ready" for row in ROWS]

  def stop():
    while not all(path.exists() for path in ready):
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=stop)
  thread.start()
  before = signal.getsignal(signal.SIGTERM)
  assert run("--jobs=2") == 143
  thread.join()
  assert signal.getsignal(signal.SIGTERM) == before
  assert len(run.calls()) == 2
  # Stopped is not failed; what it took is not forgotten.
  [first, _] = rows(run)["off"]["runs"]
  assert (first["state"], first["note"]) == ("waiting", "")
  assert first["wall_seconds"] > 0
  monkeypatch.delenv("STUB_WAIT")
  assert run() == 0
  assert rows(run)["off"]["n"] == 2


def test_rows_with_one_configuration_share_their_runs(run):
  assert run(seeds=1, tables="6-top10_50,10-decoder") == 0
  counts = collections.Counter(row for job, row, _ in run.calls())
  assert counts == {"5-adaptors3": 4}
  tables = json.loads((run.output / "table.json").read_text())["tables"]
  assert [table["name"] for table in tables] == ["6", "10"]
  places = {t["rows"][0]["runs"][0]["directory"] for t in tables}
  assert places == {os.path.join("runs", "5-adaptors3", "seed-0")}


def test_commands(scenes, tmp_path):
  request = trials.Request(
    Path("configs/ablations.py"), ("5-frozen",), 1, tmp_path, steps=4,
    data=scenes, alone=False,
  )  # fmt: skip
  _, [trial] = trials.plan(request)
  what, command = next(trials.remaining(trial))
  assert what == "training"
  assert command[1:] == [
    "-m",
    "slan_jax.jobs.train",
    "--config=configs/ablations.py:5-frozen,steps=4",
    f"--config.compilation_cache={tmp_path / 'compiled'}",
    f"--config.data.dir={scenes}",
    "--config.mesh.cpu_devices=1",
    f"--workdir={tmp_path / 'runs' / '5-frozen' / 'seed-0'}",
    "--config.seed=0",
  ]
  assert trial.experiment.model.text.vocab_size > 0
  assert trial.experiment.mesh.cpu_devices == 1


def test_the_detector_goes_to_the_rows_that_take_one(scenes, tmp_path):
  path = tmp_path / "detr.pth"
  path.touch()
  request = trials.Request(
    Path("configs/ablations.py"), ("9",), 1, tmp_path, data=scenes,
    detector=path,
  )  # fmt: skip
  _, planned = trials.plan(request)
  found = {t.name: t.experiment.init_from.detector for t in planned}
  assert found == {"9-scratch": ""} | dict.fromkeys(
    ("9-detector", "9-detector_backbone", "9-frozen"), str(path)
  )
  assert planned[0].directory.parent.name == "5-adaptors3"
  assert f"9-detector,detector={path}" in planned[1].arguments[0]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--tables=7"], "unknown '7'; choose of 5, 6, 9, 10"),
    (["--tables=6-of"], "unknown '6-of'; choose of 6-off, 6-top10"),
    (["--config=none.py"], "none.py: no such file"),
    (["--config=configs/__init__.py"], "has no TABLES"),
    (["--data=nowhere"], "nowhere"),
    (["--tables=9"], "9-detector: needs ,detector=PATH (--detector"),
    (["--tables=9", "--detector=a.pth"], "--detector=a.pth: no such file"),
  ],
)
def test_bad_usage_is_refused_before_anything_runs(
  arguments, message, run, capsys
):
  output = f"--output={run.output}"
  assert ablate.main(["--tables=5-frozen", output, *arguments]) == 2
  error = capsys.readouterr().err
  assert message in error and error.startswith("slan-ablate: ")
  assert run.calls() == [] and not run.output.exists()


def test_another_requests_runs_are_refused(run, scenes, capsys):
  assert run(seeds=1) == 0
  arguments = ["--tables=6", f"--data={scenes}", f"--output={run.output}"]
  assert ablate.main([*arguments, "--steps=8"]) == 2
  assert "total_steps is 4 there, 8 here" in capsys.readouterr().err
