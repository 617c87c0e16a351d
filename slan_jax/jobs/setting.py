"""What a task's scorer is opened with, and what it gives."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from slan_jax.evaluation.evaluator import Batching
from slan_jax.input.config import EvaluationConfig
from slan_jax.input.text import TextEncoder
from slan_jax.jobs.experiment import Experiment, evaluation_config
from slan_jax.jobs.unfinished import Unfinished
from slan_jax.tasks.task import Task
from slan_jax.training.sharding import batch_sharding, replicated

Tree = Any
# (parameters, directory for files beside metrics.json or None) -> the outcome,
# as `report.complete` takes it.
Score = Callable[[Tree, Path | None], dict[str, Any]]


class Setting(NamedTuple):
  """A run and the split to score.

  Attributes:
    experiment: of the run, complete.
    encoder: its tokenizer.
    task: the task to be scored, over the run's model.
    mesh: devices that hold the parameters.
    split: of the run's data.
    galleries: images per gallery, where the task has galleries.
    limit: records at most, the first ones; None = every one.
    unfinished: where pair scores are kept until all are there; None = nowhere.
  """

  experiment: Experiment
  encoder: TextEncoder
  task: Task
  mesh: jax.sharding.Mesh
  split: str
  galleries: tuple[int, ...]
  limit: int | None
  unfinished: Unfinished | None = None

  @property
  def source(self) -> tuple[str, str, EvaluationConfig]:
    """Directory, split and sizes, as the readers of splits take them."""
    config = evaluation_config(self.experiment)
    return self.experiment.data.dir, self.split, config

  @property
  def batching(self) -> Batching:
    """How the split is fed to the devices."""
    return batching(self.experiment, self.mesh)


def batching(experiment: Experiment, mesh: jax.sharding.Mesh) -> Batching:
  """Batches of an experiment's evaluations on a mesh."""
  options = experiment.evaluation
  return Batching(
    size=options.batch_size,
    pairs=options.pair_batch_size,
    cache_bytes=options.cache_bytes,
    put=lambda tree: place(tree, mesh),
    progress=sys.stdout.isatty() and jax.process_index() == 0,
  )


def place(tree: Tree, mesh: jax.sharding.Mesh) -> Tree:
  """Splits the rows of each array over the devices where they divide."""

  def one(array: np.ndarray) -> jax.Array:
    divides = np.ndim(array) and len(array) % mesh.size == 0
    target = batch_sharding(mesh) if divides else replicated(mesh)
    return jax.device_put(array, target)

  return jax.tree.map(one, tree)
