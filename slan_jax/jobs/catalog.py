"""The tasks that jobs know: how each one is made, fed and scored."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from slan_jax.input.captions import CaptionMaker
from slan_jax.input.maker import MakeMaker
from slan_jax.input.text import TextEncoder
from slan_jax.jobs import (
  captioning,
  detection,
  grounding,
  nlvr2,
  retrieval,
  scoring,
  video_retrieval,
  vqa,
)
from slan_jax.jobs.experiment import Experiment, batch_shape
from slan_jax.jobs.setting import Score, Setting
from slan_jax.jobs.typed import ConfigError
from slan_jax.tasks import pretrain
from slan_jax.tasks.task import Task
from slan_jax.training.log import Log
from slan_jax.training.state import TrainState


class Entry(NamedTuple):
  """What the jobs need of a task.

  Attributes:
    make: the task, over the model that the experiment configures.
    maker: makes its rows from records; None = it is scored, never trained.
    open_scorer: opens a split for scoring; None = it is trained, never scored.
    decides: metric whose largest value makes the best checkpoint; "" without
      a scorer.
    any_run: whether a run of another task can be scored too, because all that
      the task needs was trained before.
  """

  make: Callable[[Experiment, TextEncoder], Task]
  maker: Callable[[Experiment], MakeMaker] | None
  open_scorer: Callable[[Setting], Score] | None
  decides: str
  any_run: bool


def _pretrain(experiment: Experiment, encoder: TextEncoder) -> Task:
  return pretrain.make_task(
    experiment.model,
    experiment.objective,
    batch_shape(experiment, encoder),
    experiment.total_steps,
  )._replace(name=experiment.task)


def _grounding(experiment: Experiment, encoder: TextEncoder) -> Task:
  """A run of another task is scored as that task left it: zero-shot."""
  if experiment.task == "grounding":
    return grounding.tuned(experiment)
  return _pretrain(experiment, encoder)


def _video(experiment: Experiment, encoder: TextEncoder) -> Task:
  return video_retrieval.scored(_pretrain(experiment, encoder), experiment)


def _captions(experiment: Experiment) -> MakeMaker:
  del experiment
  return CaptionMaker


CATALOG: dict[str, Entry] = {
  "pretrain": Entry(_pretrain, _captions, None, "", False),
  "retrieval": Entry(
    _pretrain, _captions, retrieval.open_scorer, "r_mean", True
  ),
  "captioning": Entry(
    captioning.make,
    captioning.maker,
    captioning.open_scorer,
    "cider_bleu4",
    True,
  ),
  "vqa": Entry(vqa.make, vqa.maker, vqa.open_scorer, "vqa_accuracy", False),
  "grounding": Entry(
    _grounding, grounding.maker, grounding.open_scorer, "grounding_r1", True
  ),
  "detection": Entry(
    detection.make, detection.maker, detection.open_scorer, "ap", True
  ),
  "nlvr2": Entry(nlvr2.make, nlvr2.maker, nlvr2.open_scorer, "accuracy", False),
  "video_retrieval": Entry(
    _video, None, video_retrieval.open_scorer, "r_mean", True
  ),
}
SCORED = tuple(name for name, entry in CATALOG.items() if entry.open_scorer)


def make_task(experiment: Experiment, encoder: TextEncoder) -> Task:
  """The task that an experiment names, its vocabulary known.

  Raises:
    ConfigError: `task` names none that can be trained.
  """
  return _trained(experiment).make(experiment, encoder)


def row_maker(experiment: Experiment) -> MakeMaker:
  """What makes the rows of the task that an experiment names."""
  return _trained(experiment).maker(experiment)


def _trained(experiment: Experiment) -> Entry:
  names = [name for name, entry in CATALOG.items() if entry.maker]
  if experiment.task not in names:
    raise ConfigError(
      f"task is {experiment.task!r}; choose one of {', '.join(names)}"
    )
  return CATALOG[experiment.task]


def scored_task(
  name: str, experiment: Experiment, encoder: TextEncoder, own: Task
) -> Task:
  """The task to score on a run that may have been trained for another one.

  Args:
    name: one of `SCORED`.
    experiment: of the run, complete.
    encoder: its tokenizer.
    own: the run's own task.

  Raises:
    ValueError: the task needs parameters that this run does not have.
  """
  if name == experiment.task:
    return own
  entry = CATALOG[name]
  if not entry.any_run:
    raise ValueError(
      f"--task={name}: this run was trained for {experiment.task!r}, and "
      f"{name} needs more than that; fine-tune it first: slan-train --config "
      f"configs/finetune.py:{name} --config.init_from.run=DIR"
    )
  return entry.make(experiment, encoder)


def score_function(name: str, setting: Setting) -> Score:
  """Opens the split of a setting for one of `SCORED`."""
  return CATALOG[name].open_scorer(setting)


def training_evaluation(
  experiment: Experiment,
  encoder: TextEncoder,
  task: Task,
  mesh: jax.sharding.Mesh,
  directory: Path,
  log: Log,
) -> Callable[[TrainState, int], float | None]:
  """What the training loop calls: scores the task and logs its metrics.

  Pre-training is scored by retrieval and grounding, with snapshots.

  Returns:
    (state, step) -> the metric that decides the best checkpoint.
  """
  options, entry = experiment.evaluation, CATALOG[experiment.task]
  if not options.every_steps:
    return lambda state, step: None
  if entry.open_scorer is None:
    return scoring.training_evaluation(experiment, task, mesh, directory, log)
  setting = Setting(
    experiment=experiment,
    encoder=encoder,
    task=task,
    mesh=mesh,
    split=experiment.data.evaluation_split,
    galleries=options.galleries[:1],
    limit=options.records or None,
  )
  score = entry.open_scorer(setting)

  def evaluate(state: TrainState, step: int) -> float:
    params = state.ema if options.use_ema else state.params
    metrics = score(params, None)["metrics"]
    if entry.decides not in metrics:  # at the first step: nothing is lost
      raise ConfigError(
        f"data.evaluation_split={setting.split!r} of {experiment.data.dir} has "
        f"no {entry.decides}: its answers are secret or not annotated; name "
        "another split, or set evaluation.every_steps=0"
      )
    log.evaluation(step, metrics)
    return metrics[entry.decides]

  return evaluate
