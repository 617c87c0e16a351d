"""A run that is killed at any moment ends as the one that never was.

`make test-faults` kills twenty runs; $SLAN_KILLS says how many, and
$SLAN_KILLS_SEED chooses other moments.
"""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults import victim
from tests.training.test_loop import records

KILLS = int(os.environ.get("SLAN_KILLS", "3"))
SEED = int(os.environ.get("SLAN_KILLS_SEED", "0"))
KINDS = ("loading", "stepping", "saving")


class Moment(NamedTuple):
  """When to kill: so many seconds after the n-th event of a kind."""

  kind: str
  number: int
  delay: float


@pytest.fixture(scope="module")
def train(scenes, tmp_path_factory):
  """(directory, moment) -> events of a run, and its digest unless killed."""
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload([victim.__name__])
  cache = tmp_path_factory.mktemp("cache")

  def run(directory: Path, moment: Moment | None = None):
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
      target=victim.run,
      args=(scenes, directory, cache, theirs, moment is not None),
    )
    process.start()
    theirs.close()
    events, found = [], None
    while True:
      try:
        event, value = ours.recv()
      except EOFError:
        break
      events.append(event)
      found = value or found
      if moment and (event, events.count(event)) == moment[:2]:
        time.sleep(moment.delay)
        process.kill()
    process.join()
    ours.close()
    assert process.exitcode == (-signal.SIGKILL if moment else 0)
    return events, found

  return run


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
  """The run that is never killed."""
  directory = tmp_path_factory.mktemp("whole") / "run"
  events, found = train(directory)
  return directory, events, found


def moments(events: list[str]) -> list[Moment]:
  """Random ones; every third while loading, stepping, saving."""
  rng = random.Random(SEED)
  return [
    Moment(
      kind := KINDS[index % 3],
      rng.randint(1, events.count(kind)),
      rng.uniform(0.0, 0.1),
    )
    for index in range(KILLS)
  ]


@pytest.mark.parametrize("index", range(KILLS))
def test_killed_and_resumed_is_the_same_run(train, whole, tmp_path, index):
  moment = moments(whole[1])[index]
  directory = tmp_path / "run"
  train(directory, moment)
  assert not (directory / "summary.json").exists(), "killed too late"
  _, found = train(directory)
  assert found == whole[2], moment
  for name in ("metrics.jsonl", "evaluations.jsonl"):
    assert records(directory, name) == records(whole[0], name)
