"""Visual reasoning about pairs (NLVR2): accuracy and consistency, in percent.

Axis letter: P statements about pairs.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

PROTOCOL = (
  "A statement is called true where its log odds are above 0; exactly 0 is "
  "wrong whatever is true. Consistency: groups (one sentence, told of several "
  "pairs) with every pair right. Chance: a fair coin."
)


def right_answers(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
  """Which statements are judged right.

  Args:
    labels: [P], 1 or True = the statement is true.
    scores: [P] log odds that it is; a tie at 0 counts against the model.

  Returns:
    bool [P].

  Raises:
    ValueError: Nothing to score, lengths that differ, labels that are not 0
      or 1, or a score that is NaN.
  """
  labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
  if labels.ndim != 1 or labels.shape != scores.shape or not labels.size:
    raise ValueError(
      f"nlvr2: {labels.shape} labels and {scores.shape} scores; expected as "
      "many of one as of the other, and at least one: is the split empty?"
    )
  if not np.isin(labels, (0, 1)).all():
    raise ValueError(f"nlvr2: labels must be 0 or 1, got {np.unique(labels)}")
  if np.isnan(scores).any():
    raise ValueError(
      f"nlvr2: {np.isnan(scores).sum()} of {scores.size} scores are NaN, the "
      f"first at row {np.isnan(scores).argmax()}; the model has diverged"
    )
  return np.where(labels == 1, scores > 0, scores < 0)


def nlvr_metrics(right: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
  """Accuracy over statements, consistency over groups.

  Args:
    right: bool [P] of `right_answers`.
    groups: [P], the sentence of each statement.

  Returns:
    `accuracy` and `consistency`, percent.

  Raises:
    ValueError: Not as many groups as statements.
  """
  if len(right) != len(groups):
    raise ValueError(f"nlvr2: {len(right)} statements, {len(groups)} groups")
  by_group: dict[str, list[bool]] = defaultdict(list)
  for group, correct in zip(groups, right):
    by_group[group].append(bool(correct))
  return {
    "accuracy": 100 * float(np.mean(right)),
    "consistency": 100 * float(np.mean([all(x) for x in by_group.values()])),
  }


def chance_metrics(groups: Sequence[str]) -> dict[str, float]:
  """What a fair coin scores: the same names as `nlvr_metrics`."""
  _, sizes = np.unique(np.asarray(groups), return_counts=True)
  return {
    "accuracy": 50.0,
    "consistency": 100 * float(np.mean(0.5**sizes)),
  }
