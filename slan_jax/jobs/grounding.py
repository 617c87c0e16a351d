"""Phrase grounding for `slan-train` and `slan-eval`."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from slan_jax.evaluation.cases import Case, save_cases
from slan_jax.evaluation.grounding import phrase_answers
from slan_jax.input.grounding import GroundingSplit
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
    complete = setting.limit is None
    if output is None or jax.process_index():
      return scorer.grounding(params, counterfactuals=complete)
    findings = Findings(scorer.phrases)
    outcome = scorer.grounding(
      params, counterfactuals=complete, watch=findings.note
    )
    save_cases(output, findings.scores, findings.case)
    return outcome

  return score


class Findings:
  """The best region of every phrase, noted as captions are scored.

  Attributes:
    scores: [E] mean IoU of the best regions of each caption's phrases.
  """

  def __init__(self, split: GroundingSplit):
    """Of the captions of a split."""
    self._split = split
    self.scores = np.zeros(len(split.examples))
    self._boxes = [np.zeros((0, 4))] * len(split.examples)

  def note(
    self,
    row: int,
    states: dict[str, np.ndarray],
    phrases: list[dict[str, float]],
  ) -> None:
    """Keeps what was found for a caption; see `evaluation.grounding.Watch`."""
    named = len(self._split.examples[row].phrases)
    boxes, scores, _ = phrase_answers(
      {name: array for name, array in states.items() if name != "map"},
      self._split.phrase_tokens[row, :named],
    )
    if boxes.shape[1]:  # else nothing was kept
      self._boxes[row] = boxes[-1, scores[:, -1].argmax(axis=-1)]
    self.scores[row] = np.mean([phrase["mean_iou"] for phrase in phrases])

  def case(self, row: int) -> Case:
    """A caption, its phrases' best regions and their annotated boxes."""
    split, example = self._split, self._split.examples[row]
    true = [(box, p.text) for p in example.phrases for box in p.boxes]
    return Case(
      images=split.images[split.image[row : row + 1]],
      text=example.caption,
      lines=[],
      score=float(self.scores[row]),
      boxes=self._boxes[row],
      labels=[phrase.text for phrase in example.phrases],
      truth=np.array([box for box, _ in true]),
      truth_labels=[text for _, text in true],
    )
