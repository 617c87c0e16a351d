"""A run of the light task that tells what it does, so that it can be killed.

Importing the jobs takes far longer than the run: a server imports this module
once, and every run is a fork of it with devices of its own.
"""

import hashlib
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import jax
import numpy as np

from slan_jax.input.loader import Loader
from slan_jax.jobs import train
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.leaves import flat, named, plain
from tests.jobs.light import light_experiment, light_task

CHANGES = {"total_steps": 12, "evaluation__every_steps": 4}


def digest(state) -> str:
  """Of every bit of a state."""
  total = hashlib.sha256()
  for name, leaf in sorted(flat(named(plain(state))).items()):
    total.update(name.encode() + np.asarray(leaf).tobytes())
  return total.hexdigest()


def run(
  scenes: Path, directory: Path, cache: Path, told: Connection, doomed: bool
) -> None:
  """Trains, or goes on, and tells (event, value) through a pipe.

  A doomed run waits at its end for the kill, should that be late.
  """
  os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
  jax.config.update("jax_compilation_cache_dir", str(cache))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  train.make_task = light_task

  def telling(owner, name: str, event: str) -> None:
    original = getattr(owner, name)

    def told_first(*arguments, **options):
      told.send((event, None))
      return original(*arguments, **options)

    setattr(owner, name, told_first)

  telling(Checkpoints, "restore_newest", "loading")
  telling(Loader, "__init__", "loading")
  telling(train, "init_state", "loading")
  telling(Loader, "__next__", "stepping")
  telling(Checkpoints, "save", "saving")
  telling(Checkpoints, "wait", "saving")
  loop = train.loop.run

  def watched(*arguments):
    outcome = loop(*arguments)
    told.send(("done", digest(outcome.state)))
    time.sleep(60.0 if doomed else 0.0)
    return outcome

  train.loop.run = watched
  assert train.train(light_experiment(scenes, **CHANGES), directory) == 0
