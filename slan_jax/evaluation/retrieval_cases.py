"""Best and worst cases of retrieval: a text, its picture, and what it found.

Axis letters: I images, T texts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from slan_jax.evaluation import recall
from slan_jax.evaluation.cases import Case
from slan_jax.evaluation.gallery import Gallery

RIVALS = 3  # pictures beside the right one; of clips one
FRAMES = 4  # of a clip that are shown


class Searches(NamedTuple):
  """The first text of every image of a gallery, and what it found.

  Attributes:
    texts: int [I], rows of these texts within the split.
    scores: [I,I] of each with every image, higher is better.
    ranks: int [I], of the right image, 0 = first.
  """

  texts: np.ndarray
  scores: np.ndarray
  ranks: np.ndarray


def searches(gallery: Gallery, text_to_image: np.ndarray) -> Searches:
  """One search for every image: captions of one picture are much alike.

  Args:
    gallery: of `evaluate_retrieval`.
    text_to_image: [T,I] its scores.
  """
  _, rows = np.unique(gallery.text_image, return_index=True)
  scores, right = text_to_image[rows], np.eye(len(rows), dtype=bool)
  return Searches(gallery.texts[rows], scores, recall.best_ranks(scores, right))


def search_case(
  found: Searches, image: int, images: Any, texts: Sequence[str]
) -> Case:
  """The search for one image.

  Args:
    found: of `searches`.
    image: the row of the right image.
    images: uint8 [I,S,S,3], or clips [I,F,S,S,3], indexed by rows.
    texts: of the split.

  Returns:
    The right image, framed, and the best others behind it. Its score is the
    reciprocal rank.
  """
  order = np.argsort(-found.scores[image], kind="stable")
  clip = np.ndim(images[image]) == 4
  others = order[order != image][: 1 if clip else RIVALS]
  shown = [np.asarray(images[row]) for row in (image, *others)]
  rank = int(found.ranks[image]) + 1
  right = "the right clip" if clip else "the right picture"
  return Case(
    images=np.concatenate([_frames(x) if clip else x[None] for x in shown]),
    text=texts[found.texts[image]],
    lines=[f"{right}, shown first, ranks {rank} of {len(found.ranks)}"],
    score=1 / rank,
    boxes=np.array([[0.0, 0.0, 1.0, 1.0]]),
    labels=[right],
  )


def _frames(clip: np.ndarray) -> np.ndarray:
  """Frames from all over a clip [F,S,S,3]."""
  count = min(FRAMES, len(clip))
  return clip[np.linspace(0, len(clip) - 1, count).round().astype(int)]
