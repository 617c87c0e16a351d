"""Resuming bit for bit, stopping politely, giving up clearly."""

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.errors import NonFiniteError
from slan_jax.training.stop import Stop
from tests.training import toy
from tests.training.toy import assert_trees_equal, build, toy_task, train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built():
  return build(toy_task(), total_steps=10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, built):
  """An uninterrupted run: its directory and outcome."""
  workdir = tmp_path_factory.mktemp("whole")
  return workdir, train(workdir, built=built)


def records(workdir: Path, name: str) -> list[dict[str, float]]:
  """Lines of a JSONL file without what depends on the clock."""
  timed = {"images_per_second", "step_seconds", "host_seconds", "mfu"}
  lines = (workdir / name).read_text().splitlines()
  return [
    {k: v for k, v in json.loads(line).items() if k not in timed}
    for line in lines
  ]


def assert_same_run(workdir, outcome, whole) -> None:
  assert_trees_equal(outcome.state, whole[1].state)
  assert outcome.signal is None and outcome.host.position == 10
  for name in ("metrics.jsonl", "evaluations.jsonl"):
    assert records(workdir, name) == records(whole[0], name)


def test_a_whole_run(whole, built):
  workdir, outcome = whole
  assert int(outcome.state.step) == 10
  lines = records(workdir, "metrics.jsonl")
  assert [line["step"] for line in lines] == [3, 6, 9, 10]
  assert "spread" not in lines[0] and "spread" in lines[1]  # a second stage
  assert lines[-1]["loss"] < lines[0]["loss"]
  steps = [line["step"] for line in records(workdir, "evaluations.jsonl")]
  assert steps == [0, 5, 10]
  saved = Checkpoints(workdir / "checkpoints", read_only=True)
  assert saved.steps() == [5, 8, 10] and saved.best() in (5, 10)
  assert [jitted._cache_size() for jitted in built[3].jitted] == [1, 1]


@pytest.mark.parametrize("until", [1, 4, 5, 7, 10])
def test_interrupted_and_resumed_is_the_same_run(tmp_path, built, whole, until):
  first = train(tmp_path, until=until, built=built)
  assert first.signal == signal.SIGTERM and int(first.state.step) == until
  assert_same_run(tmp_path, train(tmp_path, built=built), whole)


def test_killed_without_saving_is_the_same_run(tmp_path, built, whole):
  class Killed(Exception):
    pass

  def kill(position: int) -> None:
    if position == 8:
      raise Killed

  with pytest.raises(Killed):
    train(tmp_path, on_batch=kill, built=built)
  seen = []
  outcome = train(tmp_path, on_batch=seen.append, built=built)
  assert seen[0] == 6  # back to the checkpoint of step 5
  assert_same_run(tmp_path, outcome, whole)


def test_waiting_to_agree_belongs_to_the_steps(tmp_path, built, monkeypatch):
  """Several processes wait for their devices before they agree to go on."""

  def agreed(stop, step):
    time.sleep(0.05)
    return False

  monkeypatch.setattr(Stop, "asked", agreed)
  host = train(tmp_path, built=built).host
  # Before 11 rounds; nothing is counted until the second step is behind.
  assert host.seconds > 8 * 0.05


def test_finished_run_takes_no_data(whole, built):
  seen = []
  outcome = train(whole[0], on_batch=seen.append, built=built)
  assert not seen
  assert_trees_equal(outcome.state, whole[1].state)


def test_a_skipped_step_is_reported_and_the_run_goes_on(
  tmp_path, built, caplog
):
  with caplog.at_level(logging.WARNING):
    outcome = train(tmp_path, poison=frozenset([1, 3, 4]), built=built)
  assert "step 2: loss or gradient is not finite" in caplog.text
  assert "step 4" in caplog.text and "step 5" not in caplog.text
  assert int(outcome.state.skipped_total) == 3
  losses = [r["loss"] for r in records(tmp_path, "metrics.jsonl")]
  assert np.isfinite(losses).all()


def test_a_streak_goes_back_once_and_over_other_data(tmp_path, built, caplog):
  seen = []
  poison = frozenset(range(6, 9))  # steps 7 to 9; 5 is saved, 8 is not
  with caplog.at_level(logging.ERROR):
    outcome = train(tmp_path, poison=poison, on_batch=seen.append, built=built)
  assert "up to step 9: going back to the checkpoint of step 5" in caplog.text
  assert "from batch 10 of the global order" in caplog.text
  # Steps 1 to 10 and, after the failure at 9, steps 6 to 10 again.
  assert seen == [*range(1, 11), *range(11, 16)]
  assert int(outcome.state.step) == 10 and outcome.host.position == 15
  assert outcome.host.rollbacks == [[9, 5]]
  assert np.isfinite(outcome.state.params["head"]["kernel"]).all()
  lines = records(tmp_path, "metrics.jsonl")
  assert [line["step"] for line in lines] == [3, 6, 9, 10]
  assert lines[-1]["seen_toys"] == 16 * 15
  steps = [line["step"] for line in records(tmp_path, "evaluations.jsonl")]
  assert steps == [0, 5, 10]


@pytest.mark.parametrize("until", [7, 8, 9, 10])
def test_going_back_does_not_depend_on_restarts(tmp_path, built, until):
  poison = frozenset(range(6, 9))
  whole = train(tmp_path / "whole", poison=poison, built=built)
  first = train(tmp_path / "cut", poison=poison, until=until, built=built)
  assert first.signal == signal.SIGTERM
  outcome = train(tmp_path / "cut", poison=poison, built=built)
  assert_trees_equal(outcome.state, whole.state)
  assert outcome.host.position == whole.host.position == 15
  for name in ("metrics.jsonl", "evaluations.jsonl"):
    assert records(tmp_path / "cut", name) == records(tmp_path / "whole", name)


def test_too_many_skipped_in_a_row_stop_the_run(tmp_path, built):
  poison = frozenset(range(5, 30))
  with pytest.raises(
    NonFiniteError,
    match=r"3 steps .* up to step 8, although it went back to step 5 before; "
    "checkpoint 5 is",
  ):
    train(tmp_path, poison=poison, built=built)
  assert Checkpoints(tmp_path / "checkpoints", read_only=True).steps() == [4, 5]


def test_without_a_checkpoint_there_is_no_way_back(tmp_path, built):
  with pytest.raises(NonFiniteError, match=r"up to step 3; nothing was saved"):
    train(tmp_path, poison=frozenset(range(9)), built=built)


def test_a_higher_limit_goes_on_from_there(tmp_path, built):
  poison = frozenset([5, 6, 7, 9, 10, 11])
  with pytest.raises(NonFiniteError, match=r"up to step 8; checkpoint 5"):
    train(tmp_path, poison=poison, rollbacks=0, built=built)
  outcome = train(tmp_path, poison=poison, rollbacks=2, built=built)
  assert outcome.host.rollbacks == [[8, 5], [8, 5]]


def test_input_skips_are_counted_across_restarts(tmp_path, built, monkeypatch):
  monkeypatch.setattr(toy.Data, "__next__", _skipping(toy.Data.__next__))
  train(tmp_path, until=6, built=built)
  outcome = train(tmp_path, built=built)
  assert outcome.host.skipped == {"corrupt": 10}
  last = records(tmp_path, "metrics.jsonl")[-1]
  assert last["input_faults"] == 10


def _skipping(advance):
  def skipping(self):
    self.skipped["corrupt"] = self.skipped.get("corrupt", 0) + 1
    return advance(self)

  return skipping


RUN = """
import os, sys, time
from tests import conftest
from pathlib import Path
from tests.training.toy import train

def pace(position):
  Path(sys.argv[1], "position").write_text(str(position))
  time.sleep(0.05)

outcome = train(Path(sys.argv[1]), total_steps=4000, on_batch=pace)
print("saved at", int(outcome.state.step), flush=True)
sys.exit(128 + outcome.signal)
"""


@pytest.mark.parametrize("number, code", [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals_save_and_leave(tmp_path, number, code):
  process = subprocess.Popen(
    [sys.executable, "-W", "error", "-c", RUN, str(tmp_path)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 120
  position = tmp_path / "position"
  while not position.exists() or int(position.read_text() or 0) < 3:
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(getattr(signal, number))
  output, _ = process.communicate(timeout=60)
  assert process.returncode == code
  step = int(output.split("saved at")[1])
  saved = Checkpoints(tmp_path / "checkpoints", read_only=True)
  assert saved.steps()[-1] == step >= 3
