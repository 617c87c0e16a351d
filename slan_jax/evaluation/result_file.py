"""Official result files: VQA, COCO detection and captions, NLVR2.

They are what evaluation servers take, and can be scored here as well. A file
is written whole or not at all.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.evaluation.files import write_atomically

_NUMBERS = (int, float)


def write_answers(path: Path, answers: Mapping[str, str]) -> None:
  """VQA's format: a list of {"question_id", "answer"}.

  Args:
    path: File to write.
    answers: The answer by question id; numbers are written as such.
  """
  rows = [{"question_id": _id(q), "answer": a} for q, a in answers.items()]
  _write(path, rows)


def read_answers(path: Path) -> dict[str, str]:
  """The answers of a VQA result file, by question id as text.

  Raises:
    ValueError: It is no such file, or answers a question twice; names the
      file and the row.
  """
  rows = _rows(path, {"question_id": (int, str), "answer": str})
  return _by_id(
    path, "question", [(r["question_id"], r["answer"]) for r in rows]
  )


def write_captions(path: Path, captions: Mapping[str, str]) -> None:
  """COCO's caption format: a list of {"image_id", "caption"}."""
  _write(
    path, [{"image_id": _id(i), "caption": c} for i, c in captions.items()]
  )


def read_captions(path: Path) -> dict[str, str]:
  """The captions of a COCO result file, by image id as text.

  Raises:
    ValueError: It is no such file, or captions an image twice; names the file
      and the row.
  """
  rows = _rows(path, {"image_id": (int, str), "caption": str})
  return _by_id(path, "image", [(r["image_id"], r["caption"]) for r in rows])


def write_detections(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
  """COCO's detection format: image_id, category_id, bbox in pixels, score.

  Args:
    path: File to write.
    results: Rows with these keys; bbox is x, y, width, height.
  """
  _write(path, [dict(row) for row in results])


def read_detections(path: Path) -> list[dict[str, Any]]:
  """The rows of a COCO detection result file.

  Raises:
    ValueError: It is no such file; names the file and the row.
  """
  keys = {"image_id": int, "category_id": int, "bbox": list, "score": _NUMBERS}
  rows = _rows(path, keys)
  for place, row in enumerate(rows):
    box = row["bbox"]
    if len(box) != 4 or not all(isinstance(side, _NUMBERS) for side in box):
      raise ValueError(
        f"{path}: row {place}: bbox is {box}; expected x, y, width, height"
      )
  return rows


def detection_rows(
  image_ids: Sequence[int],
  sizes: np.ndarray,
  boxes: np.ndarray,
  scores: np.ndarray,
  labels: np.ndarray,
  category_ids: Sequence[int],
) -> list[dict[str, Any]]:
  """Our detections as rows of a result file.

  Args:
    image_ids: [I] number of each picture.
    sizes: [I,2] width and height in pixels.
    boxes: [I,D,4] xyxy in [0,1].
    scores: [I,D].
    labels: [I,D] rows of the classes; -1 = no detection.
    category_ids: [C] numbers of the classes.

  Returns:
    The rows, in the order of the pictures.

  Raises:
    ValueError: A score or a box is not finite.
  """
  rows = []
  for picture, number in enumerate(image_ids):
    kept = np.flatnonzero(labels[picture] >= 0)
    values = np.concatenate(
      [boxes[picture, kept].ravel(), scores[picture, kept]]
    )
    if not np.isfinite(values).all():
      raise ValueError(
        f"detection: image {number} has boxes or scores that are not finite; "
        "the model has diverged"
      )
    scale = np.tile(np.asarray(sizes[picture], np.float64), 2)
    corners = boxes[picture, kept].astype(np.float64) * scale
    corners[:, 2:] -= corners[:, :2]
    rows += [
      {
        "image_id": int(number),
        "category_id": int(category_ids[labels[picture, place]]),
        "bbox": box,
        "score": float(scores[picture, place]),
      }
      for place, box in zip(kept, corners.tolist())
    ]
  return rows


def write_judgements(path: Path, judgements: Mapping[str, bool]) -> None:
  """NLVR2's format: lines of "identifier,True" or "identifier,False"."""
  lines = [f"{name},{bool(true)}\n" for name, true in judgements.items()]
  write_atomically(path, "".join(lines).encode())


def read_judgements(path: Path) -> dict[str, bool]:
  """The judgements of an NLVR2 result file, by identifier.

  Raises:
    ValueError: It is no such file, or judges a statement twice; names the file
      and the line.
  """
  try:
    lines = Path(path).read_text("utf-8").splitlines()
  except (OSError, ValueError) as error:
    raise ValueError(f"{path}: not a result file ({error})") from error
  found: dict[str, bool] = {}
  for number, line in enumerate(lines, 1):
    name, comma, word = line.strip().rpartition(",")
    if not comma or word not in ("True", "False"):
      raise ValueError(
        f"{path}:{number}: {line!r}; expected identifier,True or "
        "identifier,False"
      )
    if name in found:
      raise ValueError(
        f"{path}:{number}: {name} stands twice; keep one of them"
      )
    found[name] = word == "True"
  return found


def _id(name: str) -> int | str:
  """An id as official files have it: a number where it is one."""
  name = str(name)
  plain = name.isascii() and name.isdigit() and name == str(int(name))
  return int(name) if plain else name


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
  text = json.dumps(rows, ensure_ascii=False, allow_nan=False)
  write_atomically(path, text.encode())


def _rows(path: Path, keys: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Rows that have these keys, of these types."""
  try:
    rows = json.loads(Path(path).read_bytes())
  except (OSError, ValueError) as error:
    raise ValueError(f"{path}: not a result file ({error})") from error
  if not isinstance(rows, list):
    raise ValueError(
      f"{path}: expected a list of objects with {', '.join(keys)}"
    )
  for place, row in enumerate(rows):
    for key, kind in keys.items():
      value = row.get(key) if isinstance(row, dict) else None
      if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
          f"{path}: row {place}: {key} is {value!r}; expected an object with "
          f"{', '.join(keys)}"
        )
  return rows


def _by_id(
  path: Path, what: str, rows: Sequence[tuple[int | str, str]]
) -> dict[str, str]:
  found: dict[str, str] = {}
  for number, text in rows:
    if str(number) in found:
      raise ValueError(
        f"{path}: {what} {number} stands twice; keep one result of each"
      )
    found[str(number)] = text
  return found
