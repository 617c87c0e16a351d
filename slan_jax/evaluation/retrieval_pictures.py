"""Pictures of retrieval: a text and the images that it finds (Figure 8).

Axis letters: Q queries, K images found per query, S pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.evaluation import canvas, recall
from slan_jax.evaluation.files import check_arrays, load_arrays, save_arrays
from slan_jax.evaluation.gallery import Gallery

FOUND = 5
# Name -> number of axes of the arrays of an examples file.
ARRAYS = {
  "query": 1,  # str [Q]
  "image": 5,  # uint8 [Q,K,S,S,3], best first
  "right": 2,  # bool [Q,K]
  "rank": 1,  # int [Q], of the right image, 1 = first, 0 = nobody knows it
}
PANEL = 1.75  # inches


def retrieval_examples(
  gallery: Gallery,
  text_to_image: np.ndarray,
  images: Any,
  captions: Sequence[str],
  *,
  queries: int,
) -> dict[str, np.ndarray]:
  """Picks queries of the headline gallery and what they found.

  Not the best ones: evenly spaced over the gallery, and where there are misses
  the last one shown is a miss.

  Args:
    gallery: of `evaluate_retrieval`.
    text_to_image: [T,I] its scores.
    images: the images that were evaluated, indexed by an int array of rows.
    captions: their texts in words, row by row.
    queries: how many to pick, at most.

  Returns:
    The arrays of `ARRAYS`.
  """
  relevant = recall.relevance(gallery.text_image, gallery.images).T
  ranks = recall.best_ranks(text_to_image, relevant)
  rows = np.unique(
    np.linspace(0, len(text_to_image) - 1, queries).round().astype(int)
  )
  missed = np.flatnonzero(ranks > 0)
  if len(missed) and not (ranks[rows] > 0).any():
    rows[-1] = missed[len(missed) // 2]
  # Wrong ones first among equals, as they are ranked.
  order = np.lexsort((relevant[rows], -text_to_image[rows]), axis=1)[:, :FOUND]
  return {
    "query": np.array([str(captions[gallery.texts[row]]) for row in rows]),
    "image": np.stack([np.asarray(images[found]) for found in order]),
    "right": np.take_along_axis(relevant[rows], order, axis=1),
    "rank": ranks[rows] + 1,
  }


def save_examples(path: Path, arrays: dict[str, np.ndarray]) -> None:
  """Saves the examples beside metrics.json, atomically."""
  check_arrays(arrays, ARRAYS, "examples")
  save_arrays(path, arrays)


def load_examples(path: Path) -> dict[str, np.ndarray]:
  """Loads what `save_examples` wrote; damage raises a named ValueError."""
  return load_arrays(path, ARRAYS)


def draw_retrieval(arrays: dict[str, np.ndarray], path: Path) -> Path:
  """Each query's text over its first images, the right one framed.

  Args:
    arrays: of `retrieval_examples`; the images may be a list of lists, of any
      sizes.
    path: of the PNG.

  Returns:
    The path.
  """
  queries, found = arrays["right"].shape
  width = found * PANEL + 0.3
  lines = canvas.caption_lines([str(x) for x in arrays["query"]], width)
  text = canvas.LINE * lines + 0.06
  row_height = text + PANEL + 0.34
  height = 0.7 + queries * row_height
  made = canvas.figure(width, height)
  made.text(0.19 / width, 1 - 0.12 / height, "Text to image retrieval",
            fontsize=13, color=canvas.INK, fontweight="bold",
            va="top")  # fmt: skip
  made.text(0.19 / width, 1 - 0.4 / height, "best first; the frame marks the "
            "image that the text was written for", fontsize=9,
            color=canvas.FAINT, va="top")  # fmt: skip
  for query in range(queries):
    y = height - 0.7 - query * row_height - text
    axes = made.add_axes((0.19 / width, y / height,
                          (width - 0.38) / width, text / height))  # fmt: skip
    canvas.coloured_caption(axes, str(arrays["query"][query]), [])
    for place in range(found):
      axes = made.add_axes(
        ((0.15 + place * PANEL + 0.05) / width, (y - PANEL + 0.04) / height,
         (PANEL - 0.1) / width, (PANEL - 0.1) / height)
      )  # fmt: skip
      canvas.show(axes, arrays["image"][query][place])
      if arrays["right"][query, place]:
        canvas.frame(axes, canvas.RIGHT, 4)
      rank = int(arrays["rank"][query])
      if place == 0 and rank:
        axes.set_xlabel(
          "right" if rank == 1 else f"right image at rank {rank}",
          fontsize=9, labelpad=3,
          color=canvas.RIGHT if rank == 1 else canvas.MISS,
        )  # fmt: skip
  return canvas.save(made, path)
