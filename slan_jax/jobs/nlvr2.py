"""NLVR2 for `slan-train` and `slan-eval`."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from slan_jax.evaluation.cases import Case, save_cases
from slan_jax.evaluation.nlvr2 import judge_statements
from slan_jax.evaluation.nlvr_score import (
  PROTOCOL,
  chance_metrics,
  nlvr_metrics,
  right_answers,
)
from slan_jax.evaluation.report import with_skipped
from slan_jax.evaluation.result_file import write_judgements
from slan_jax.input.maker import MakeMaker
from slan_jax.input.pairs import PairMaker, PairSplit, pair_split
from slan_jax.input.text import TextEncoder
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.tasks import nlvr2
from slan_jax.tasks.task import Task

RESULTS = "judgements.csv"  # as NLVR2's own evaluation takes it


def make(experiment: Experiment, encoder: TextEncoder) -> Task:
  """The task of an experiment; see `nlvr2.make_task`."""
  del encoder
  return nlvr2.make_task(
    experiment.model,
    batch_size=experiment.batch_size,
    microbatches=experiment.microbatches,
    max_length=experiment.text.max_length,
  )


def maker(experiment: Experiment) -> MakeMaker:
  """Makes rows of pairs."""
  del experiment
  return PairMaker


def open_scorer(setting: Setting) -> Score:
  """Accuracy and consistency of statements about pairs."""
  split = pair_split(*setting.source, limit=setting.limit)
  groups = [statement.group for statement in split.statements]

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    odds = judge_statements(
      setting.task.predict,
      params,
      split.left,
      split.right,
      split.tokens,
      split.mask,
      batching=setting.batching,
    )
    if output is not None and jax.process_index() == 0:
      judged = dict(zip(split.ids, odds > 0, strict=True))
      write_judgements(output / RESULTS, judged)
      right = np.where(split.labels == 1, odds, -odds)
      save_cases(output, right, lambda row: _case(split, odds, right, row))
    outcome = {
      "task": "nlvr2",
      "protocol": PROTOCOL,
      "score": "accuracy",
      "samples": {"statements": len(odds), "groups": len({*groups})},
      "metrics": nlvr_metrics(right_answers(split.labels, odds), groups),
      "chance": chance_metrics(groups),
    }
    return with_skipped(outcome, split.skipped)

  return score


def _case(
  split: PairSplit, odds: np.ndarray, right: np.ndarray, row: int
) -> Case:
  """A pair, left and right; its score is the log odds of what is true."""
  said, true = odds[row] > 0, split.labels[row] == 1
  return Case(
    images=np.stack([split.left[row], split.right[row]]),
    text=split.statements[row].text,
    lines=[f"judged {said}, log odds {odds[row]:.2f}", f"it is {true}"],
    score=float(right[row]),
  )
