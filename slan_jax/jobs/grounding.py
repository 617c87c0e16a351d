"""Phrase grounding for `slan-train` and `slan-eval`."""

import functools
from pathlib import Path
from typing import Any

from slan_jax.input.maker import MakeMaker
from slan_jax.input.phrases import PhraseMaker
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.scoring import Scorer
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.tasks import grounding
from slan_jax.tasks.task import Task


def tuned(experiment: Experiment) -> Task:
  """The task that learns from the boxes of phrases."""
  return grounding.make_task(
    experiment.model,
    experiment.localisation,
    batch_size=experiment.batch_size,
    microbatches=experiment.microbatches,
    max_length=experiment.text.max_length,
    phrases=experiment.grounding.phrases,
    boxes=experiment.grounding.boxes,
  )


def maker(experiment: Experiment) -> MakeMaker:
  """Makes rows of captions whose phrases have boxes."""
  options = experiment.grounding
  return functools.partial(
    PhraseMaker, phrases=options.phrases, boxes=options.boxes
  )


def open_scorer(setting: Setting) -> Score:
  """Phrase grounding, with counterfactual pairs where all is scored."""
  scorer = Scorer(
    setting.experiment,
    setting.task,
    setting.mesh,
    setting.split,
    galleries=setting.galleries,
    limit=setting.limit,
  )

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    del output  # no files beside metrics.json
    return scorer.grounding(params, counterfactuals=setting.limit is None)

  return score
