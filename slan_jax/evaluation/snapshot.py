"""Snapshots: what the model sees in a few fixed images, as training goes on.

In-training evaluation saves one file per step under snapshots/STEP.npz; the
pictures of regions are drawn from these files alone.

Axis letters: E examples, P phrases, L levels, R regions, Q proposals,
N tokens. Boxes are xyxy in [0,1].
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from etils import epath

from slan_jax.evaluation.files import check_arrays, load_arrays, save_arrays

FOLDER = "snapshots"
# Name -> number of axes. `step` is an int scalar; `phrase` is "" where an
# example has fewer phrases; `truth` is NaN where nothing is annotated, and
# `proposals` has Q = 0 where the model does not give them.
ARRAYS = {
  "step": 0,
  "image": 4,  # uint8 [E,S,S,3]
  "caption": 1,  # str [E]
  "phrase": 2,  # str [E,P]
  "phrase_scores": 4,  # float [E,P,L+1,R]
  "boxes": 4,  # float [E,L+1,R,4]
  "region_mask": 2,  # bool [E,R], kept by the filter
  "proposals": 3,  # float [E,Q,4], before the filter
  "proposal_score": 2,  # float [E,Q], normalised saliency
  "truth": 3,  # float [E,P,4], box around all annotated boxes
}
# Words that name nothing one could point at.
STOP_WORDS = frozenset(
  ("a", "an", "the", "of", "in", "on", "at", "to", "with", "and", "or", "is",
   "are", "was", "were", "be", "by", "for", "from", "as", "it", "its", "his",
   "her", "their", "this", "that", "there", "some", "one", "while", "who",
   "which", "up", "down")
)  # fmt: skip


def save_snapshot(workdir: Path, arrays: dict[str, np.ndarray]) -> Path:
  """Saves a snapshot under its step, atomically; replaces an earlier one.

  Args:
    workdir: of the run.
    arrays: see `ARRAYS`.

  Returns:
    The file.

  Raises:
    ValueError: an array is missing or has the wrong number of axes.
  """
  check_arrays(arrays, ARRAYS, "snapshot")
  path = epath.Path(workdir) / FOLDER / f"{int(arrays['step'])}.npz"
  save_arrays(path, arrays)
  return path


def load_snapshots(workdir: Path) -> list[dict[str, np.ndarray]]:
  """Loads the snapshots of a run in the order of their steps.

  Args:
    workdir: of the run.

  Returns:
    Their arrays; an empty list when there are none.

  Raises:
    ValueError: a file is damaged or not a snapshot; the message names it.
  """
  paths = (Path(workdir) / FOLDER).glob("*.npz")
  return [
    load_arrays(path, ARRAYS)
    for path in sorted(paths, key=lambda path: int(path.stem))
  ]


def caption_words(
  pieces: Sequence[str], *, limit: int
) -> tuple[list[str], np.ndarray]:
  """Words to draw for a caption without annotated phrases.

  Joins word pieces, leaves out special tokens, punctuation and words that name
  nothing, and keeps the first few.

  Args:
    pieces: [N] WordPiece tokens, "[PAD]" included.
    limit: most words to keep.

  Returns:
    The words, and bool [limit,N] with the tokens of each.
  """
  words: list[tuple[str, list[int]]] = []
  for position, piece in enumerate(pieces):
    if piece.startswith("##") and words and words[-1][1][-1] == position - 1:
      text, tokens = words[-1]
      words[-1] = (text + piece[2:], tokens + [position])
    else:
      words.append((piece, [position]))
  named = [
    (text, tokens)
    for text, tokens in words
    if text.isalpha() and text.lower() not in STOP_WORDS
  ][:limit]
  chosen = np.zeros((limit, len(pieces)), bool)
  for row, (_, tokens) in enumerate(named):
    chosen[row, tokens] = True
  return [text for text, _ in named], chosen
