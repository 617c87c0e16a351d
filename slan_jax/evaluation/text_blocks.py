"""The texts of a gallery, encoded within a budget of memory.

Axis letters: T texts, N tokens.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from slan_jax.evaluation import evaluator
from slan_jax.evaluation.evaluator import Batching, Predict, Tree


class TextBlocks:
  """States of texts, block after block, as often as they are gone through.

  Where one block holds them all, they are encoded once and kept; else each
  time anew, as images are that do not fit.
  """

  def __init__(
    self,
    predict: Predict,
    params: Tree,
    tokens: np.ndarray,
    mask: np.ndarray,
    batching: Batching,
    bar: tqdm,
  ):
    """Encodes nothing yet; see `evaluator.text_blocks`."""
    self._count, self._whole = len(tokens), None
    self._encode = functools.partial(
      evaluator.text_blocks, predict, params, tokens, mask, batching, bar
    )

  def each(self, function: Callable[[slice, Tree], Any]) -> list[Any]:
    """What a function says of every block, in order.

    Args:
      function: of the rows of a block, and of their states on the host.
    """
    if self._whole is not None:
      return [function(slice(0, self._count), self._whole)]
    found = []
    for rows, states in self._encode():
      if rows.stop - rows.start == self._count:
        self._whole = states
      found.append(function(rows, states))
      del states  # before the next block is made
    return found
