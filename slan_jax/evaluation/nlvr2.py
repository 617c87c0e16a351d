"""Statements about pairs of pictures: drives decide over a split.

Axis letters: P statements, N tokens.
"""

from typing import Any

import numpy as np

from slan_jax.evaluation import evaluator
from slan_jax.evaluation.evaluator import Batching, Predict, Tree


def judge_statements(
  predict: Predict,
  params: Tree,
  left: Any,
  right: Any,
  tokens: np.ndarray,
  mask: np.ndarray,
  *,
  batching: Batching,
) -> np.ndarray:
  """Log odds that each statement is true of its pair.

  Args:
    predict: holds decide.
    params: its parameters.
    left: uint8 [P,S,S,3], or what an int array of rows indexes.
    right: likewise, the other picture of each pair.
    tokens: int32 [P,N], the statements.
    mask: bool [P,N], True on real tokens.
    batching: how the pairs are fed.

  Returns:
    float32 [P].

  Raises:
    ValueError: no statement, or odds that are not finite.
  """
  if not len(tokens):
    raise ValueError("nlvr2: the split has no statement")
  decide, odds = evaluator.jitted(predict["decide"]), []
  with evaluator.progress_bar("nlvr2", batching) as bar:
    for rows, used in evaluator.batches(len(tokens), batching.size):
      pictures = np.stack(
        [np.asarray(left[rows]), np.asarray(right[rows])], axis=1
      )
      batch = batching.place((pictures, tokens[rows], mask[rows]))
      odds.append(evaluator.fetch(decide(params, *batch))[:used])
      bar.update(used)
  odds = np.concatenate(odds)
  if not np.isfinite(odds).all():
    raise ValueError("nlvr2: odds are not finite; the model has diverged")
  return odds
