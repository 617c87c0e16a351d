"""Best and worst cases of an evaluation, kept beside its metrics.json."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from slan_jax.evaluation.files import save_arrays

FILE = "cases.npz"
SHOWN = 8  # best ones, and as many worst ones
SIDE = 256  # pixels that pictures are reduced to, at most
_NO_BOXES = np.zeros((0, 4))


class Case(NamedTuple):
  """One example with what the model made of it.

  Attributes:
    images: uint8 [n,S,S,3]: one picture, a pair, or the frames of a clip.
    text: what was asked or told, or "".
    lines: what the model said, and what is true, a line each.
    score: how good that is; higher is better.
    boxes: float [m,4] xyxy in [0,1] of the first picture.
    labels: text of each box; the same text has the same colour everywhere on
      the page.
    truth: float [k,4], the annotated boxes, likewise.
    truth_labels: text of each of these.
  """

  images: np.ndarray
  text: str
  lines: list[str]
  score: float
  boxes: np.ndarray = _NO_BOXES
  labels: Sequence[str] = ()
  truth: np.ndarray = _NO_BOXES
  truth_labels: Sequence[str] = ()


def extremes(scores: Sequence[float], shown: int = SHOWN) -> list[int]:
  """Rows of the best scores, the best first, then of the worst, worst last.

  No row is named twice; of equal scores the first comes first.
  """
  order = np.argsort(-np.asarray(scores, float), kind="stable")
  best = order[:shown]
  worst = order[max(len(best), len(order) - shown) :]
  return [int(row) for row in (*best, *worst)]


def save_cases(
  path: Path, scores: Sequence[float], make: Callable[[int], Case]
) -> None:
  """Keeps the best and worst cases of an evaluation.

  Args:
    path: directory of metrics.json.
    scores: of every example.
    make: row -> its case; called for those that are kept.
  """
  cases = [make(row) for row in extremes(scores)]
  texts = [
    {
      "text": case.text,
      "lines": list(case.lines),
      "score": float(case.score),
      "labels": list(case.labels),
      "boxes": _plain(case.boxes),
      "truth_labels": list(case.truth_labels),
      "truth": _plain(case.truth),
    }
    for case in cases
  ]
  arrays: dict[str, Any] = {
    f"images{row}": np.stack([_reduced(image) for image in case.images])
    for row, case in enumerate(cases)
  }
  save_arrays(path / FILE, arrays | {"texts": np.array(json.dumps(texts))})


def _plain(boxes: np.ndarray) -> list[list[float]]:
  return np.asarray(boxes, float).reshape(-1, 4).tolist()


def _reduced(image: np.ndarray) -> np.ndarray:
  """A picture whose sides are at most `SIDE`."""
  picture = Image.fromarray(np.asarray(image, np.uint8))
  picture.thumbnail((SIDE, SIDE))
  return np.asarray(picture)


def read_cases(path: Path) -> list[Case]:
  """The cases of a directory, the best first; [] where none were kept.

  Raises:
    ValueError: the file is damaged; names it.
  """
  if not (path / FILE).is_file():
    return []
  try:
    with np.load(io.BytesIO((path / FILE).read_bytes())) as arrays:
      texts = json.loads(str(arrays["texts"]))
      return [
        Case(
          images=arrays[f"images{row}"],
          text=text["text"],
          lines=text["lines"],
          score=text["score"],
          boxes=np.array(text["boxes"]).reshape(-1, 4),
          labels=text["labels"],
          truth=np.array(text["truth"]).reshape(-1, 4),
          truth_labels=text["truth_labels"],
        )
        for row, text in enumerate(texts)
      ]
  except (
    OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile
  ) as error:  # fmt: skip
    raise ValueError(
      f"{path / FILE} is damaged ({error}); score again with --force"
    ) from error
