"""Pictures of an index for texts: ITC finds candidates, ITM ranks them.

Axis letters: I images, T texts.
"""

from typing import NamedTuple

import numpy as np

from slan_jax.jobs.feature_index import Index
from slan_jax.jobs.predictor import Predictor, Words


class Hit(NamedTuple):
  """A picture that was found.

  Attributes:
    row: of the index. itc: cosine.
    log_odds: of ITM; None = not looked at again.
  """

  row: int
  itc: float
  log_odds: float | None


def search(
  predictor: Predictor, index: Index, words: Words, *, rerank: int
) -> list[list[Hit]]:
  """All pictures for each text, the best first.

  What is not looked at again comes after what is, by ITC.

  Args:
    predictor: scores pairs.
    index: the pictures.
    words: the texts.
    rerank: candidates of each text that ITM looks at.
  """
  states = predictor.text_states(words)
  cosine = np.asarray(states.embedding) @ index.embedding.T  # [T, I]
  first = np.argsort(-cosine, axis=1, kind="stable")
  chosen = np.unique(first[:, :rerank])
  wanted = np.zeros((len(chosen), len(cosine)), bool)
  for text, order in enumerate(first[:, :rerank]):
    wanted[np.searchsorted(chosen, order), text] = True
  files = predictor.file_chunks([index.paths[row] for row in chosen])
  odds = predictor.match(files, states, wanted)
  answers = []
  for text, order in enumerate(first):
    head, tail = np.split(order, [rerank])
    again = odds[np.searchsorted(chosen, head), text]
    best = np.argsort(-again, kind="stable")
    rows = [*zip(head[best], again[best]), *((row, None) for row in tail)]
    answers.append([Hit(row, cosine[text, row], value) for row, value in rows])
  return answers
