"""Scores parameters on a split of the run's data, during training and after."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from slan_jax.evaluation.counterfactual import (
  LIMIT,
  evaluate_counterfactuals,
)
from slan_jax.evaluation.grounding import (
  Examples,
  Watch,
  evaluate_grounding,
  take_snapshot,
)
from slan_jax.evaluation.partial import NOTHING, Partial
from slan_jax.evaluation.report import joined, with_skipped
from slan_jax.evaluation.retrieval import Retrieval, Texts, evaluate_retrieval
from slan_jax.evaluation.snapshot import save_snapshot
from slan_jax.input.counterfactual import (
  CounterfactualSplit,
  counterfactual_split,
)
from slan_jax.input.errors import InputError
from slan_jax.input.gallery import retrieval_split
from slan_jax.input.grounding import NO_BOX, GroundingSplit, grounding_split
from slan_jax.jobs.examples import (
  pair_examples,
  phrase_examples,
  word_examples,
)
from slan_jax.jobs.experiment import Experiment, evaluation_config
from slan_jax.jobs.setting import batching
from slan_jax.tasks.task import Task
from slan_jax.training.log import Log
from slan_jax.training.state import TrainState

Tree = Any
WATCHED = 6  # images whose regions are drawn as training goes on


class Scorer:
  """A split, read once, and the predict functions that score it.

  Attributes:
    gallery: its images and texts.
  """

  def __init__(
    self,
    experiment: Experiment,
    task: Task,
    mesh: jax.sharding.Mesh,
    split: str,
    *,
    galleries: tuple[int, ...],
    limit: int | None = None,
  ):
    """Opens the split.

    Args:
      experiment: complete.
      task: gives the predict functions.
      mesh: devices that hold the parameters.
      split: of the experiment's data.
      galleries: images per gallery; the first is the headline.
      limit: records at most whose phrases are grounded; None = every one.

    Raises:
      InputError: the split cannot be opened.
    """
    self._options, self._galleries = experiment.evaluation, galleries
    self._predict = task.predict
    config = evaluation_config(experiment)
    source = (experiment.data.dir, split, config)
    self.gallery = retrieval_split(*source, limit=max(galleries))
    self._grounding_split = functools.partial(
      grounding_split, *source, limit=limit
    )
    self._counterfactual_split = functools.partial(
      counterfactual_split, *source, limit=LIMIT
    )
    self._batching = batching(experiment, mesh)

  def retrieval(self, params: Tree, partial: Partial = NOTHING) -> Retrieval:
    """Two-stage retrieval; see `evaluate_retrieval`."""
    gallery = self.gallery
    return evaluate_retrieval(
      self._predict,
      params,
      gallery.images,
      Texts(gallery.tokens, gallery.mask, gallery.text_image),
      galleries=self._galleries,
      texts_per_image=self._options.texts_per_image or None,
      top_k=self._options.top_k,
      first_stage=self._options.first_stage,
      score=self._options.score,
      batching=self._batching,
      partial=partial,
    )

  def grounding(
    self, params: Tree, *, counterfactuals: bool, watch: Watch | None = None
  ) -> dict[str, Any]:
    """Phrase grounding; see `evaluate_grounding`.

    Args:
      params: to score.
      counterfactuals: whether to score counterfactual pairs as well, where the
        data has some; see `evaluate_counterfactuals`.
      watch: told of every caption of `phrases` as it is scored.

    Raises:
      InputError: no phrase of the split has a box.
    """
    split = self.phrases
    examples = phrase_examples(split, range(len(split.examples)))
    parts = self._predict, params
    outcome = evaluate_grounding(
      *parts, examples, batching=self._batching, watch=watch
    )
    skipped = dict(split.skipped)
    # Their key is older than the others', and evaluation knows none of them.
    outcome["samples"]["phrases_without_box"] += skipped.pop(NO_BOX, 0)
    outcome = with_skipped(outcome, skipped)
    if counterfactuals and self._pairs:
      found = evaluate_counterfactuals(
        *parts, pair_examples(self._pairs), batching=self._batching
      )
      outcome = joined(outcome, found)
      skipped = self._pairs.split.skipped
      outcome = with_skipped(outcome, skipped, "counterfactual")
    return outcome

  def snapshot(self, params: Tree, step: int) -> dict[str, np.ndarray]:
    """What the model sees in a few fixed images; see `take_snapshot`."""
    examples, captions, phrases = self._watched
    return take_snapshot(
      self._predict,
      params,
      examples,
      captions=captions,
      phrases=phrases,
      step=step,
      batching=self._batching,
    )

  @functools.cached_property
  def has_phrases(self) -> bool:
    """Whether some phrase of the split has a box."""
    try:
      return bool(self.phrases.examples)
    except InputError:
      return False

  @functools.cached_property
  def phrases(self) -> GroundingSplit:
    """Captions of the split whose phrases have boxes."""
    return self._grounding_split()

  @functools.cached_property
  def _pairs(self) -> CounterfactualSplit | None:
    return self._counterfactual_split()

  @functools.cached_property
  def _watched(self) -> tuple[Examples, list[str], list[list[str]]]:
    if not self.has_phrases:
      return word_examples(self.gallery, WATCHED)
    first: dict[str, int] = {}  # one caption of each image
    for row, example in enumerate(self.phrases.examples):
      first.setdefault(example.id, row)
    rows = list(first.values())[:WATCHED]
    chosen = [self.phrases.examples[row] for row in rows]
    return (
      phrase_examples(self.phrases, rows),
      [example.caption for example in chosen],
      [[phrase.text for phrase in example.phrases] for example in chosen],
    )


def training_evaluation(
  experiment: Experiment,
  task: Task,
  mesh: jax.sharding.Mesh,
  directory: Path,
  log: Log,
) -> Callable[[TrainState, int], float]:
  """What the training loop calls: scores, a snapshot, records of both.

  Only the headline gallery is scored, and as many records are grounded.

  Returns:
    (state, step) -> mean recall, which decides the best checkpoint.
  """
  options = experiment.evaluation
  split, size = experiment.data.evaluation_split, options.galleries[0]
  scorer = Scorer(experiment, task, mesh, split, galleries=(size,), limit=size)

  def evaluate(state: TrainState, step: int) -> float:
    params = state.ema if options.use_ema else state.params
    metrics = scorer.retrieval(params).report["metrics"]
    if scorer.has_phrases:
      metrics = (
        metrics | scorer.grounding(params, counterfactuals=False)["metrics"]
      )
    log.evaluation(step, metrics)
    arrays = scorer.snapshot(params, step)
    if jax.process_index() == 0:
      save_snapshot(directory, arrays)
    return metrics["r_mean"]

  return evaluate
