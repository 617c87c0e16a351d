"""`slan-score --task TASK --results FILE --data DIR`: scores a result file.

Without a model: the file may be ours or anybody's, in the official format.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.evaluation import box_ap, nlvr_score, result_file, vqa_score
from slan_jax.evaluation.caption_scores import score_captions
from slan_jax.evaluation.files import write_atomically
from slan_jax.input.classes import Classes, read_classes
from slan_jax.input.config import EvaluationConfig
from slan_jax.input.detection import detection_split
from slan_jax.input.errors import InputError
from slan_jax.input.parts import PartRecord, PartSource
from slan_jax.jobs import common

Report = dict[str, Any]
_OFFICIAL = ("captioning", "detection")  # COCO's own files will do
_INSTANCES = {
  "images": {"id"},
  "categories": {"id", "name"},
  "annotations": {"id", "image_id", "category_id", "bbox", "area"},
}


def main() -> None:
  """Console script."""
  common.launch_parsed(_parser(), _from_arguments)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "slan-score", description="Scores an official result file."
  )
  add = parser.add_argument
  add("--task", choices=sorted(_SCORES), required=True)
  add("--results", type=Path, required=True, help="the result file")
  add("--data", type=Path, help="prepared directory")
  add("--split", default="test", help="of the prepared directory")
  add("--truth", type=Path, help="COCO's own annotations, in place of --data")
  add("--output", type=Path, help="JSON file to write")
  add("--debug", action="store_true", help="show where an error comes from")
  return parser


def _from_arguments(arguments: argparse.Namespace) -> int:
  found = score_file(
    arguments.task,
    arguments.results,
    data=arguments.data,
    split=arguments.split,
    truth=arguments.truth,
  )
  text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
  if arguments.output:
    write_atomically(arguments.output, text.encode())
  print(text, end="")
  return 0


def score_file(
  task: str,
  results: Path,
  *,
  data: Path | None = None,
  split: str = "test",
  truth: Path | None = None,
) -> Report:
  """Scores a result file.

  Args:
    task: One of `captioning`, `detection`, `nlvr2` and `vqa`.
    results: The file.
    data: Prepared directory with the truth.
    split: Its split.
    truth: COCO's own annotations, in place of `data`.

  Returns:
    task, protocol, samples, metrics and, where it is known, chance.

  Raises:
    ValueError: Not one of `data` and `truth`, a file that is none, or results
      that do not belong to the truth.
    InputError: The data cannot be opened.
  """
  if (data is None) == (truth is None) or (truth and task not in _OFFICIAL):
    raise ValueError(
      f"--task {task}: give the truth as --data DIR"
      + (", or as --truth FILE" * (task in _OFFICIAL))
      + ", one of them"
    )
  report = _SCORES[task](results, data, split, truth)
  return {"task": task, **report}


def _captioning(
  results: Path, data: Path | None, split: str, truth: Path | None
) -> Report:
  references: dict[str, list[str]] = {}
  if truth:
    keys = {"annotations": {"image_id", "caption"}}
    for row in _official(truth, keys)["annotations"]:
      references.setdefault(str(row["image_id"]), []).append(row["caption"])
  else:
    for record in _records(data, split, ()):
      references.setdefault(record.id, []).extend(record.record.captions)
  found = score_captions(references, result_file.read_captions(results))
  return {
    "protocol": found.protocol,
    "samples": {
      "images": len(references),
      "references": sum(map(len, references.values())),
    },
    "metrics": found.metrics,
  }


def _detection(
  results: Path, data: Path | None, split: str, truth: Path | None
) -> Report:
  if truth:
    official = _official(truth, _INSTANCES)
  else:
    made = detection_split(
      data,
      split,
      EvaluationConfig("dataset", 8, 3),
      classes=_classes(data, split),
    )
    official = box_ap.coco_truth(
      made.image_ids, made.sizes, made.objects, *made.classes
    )
  rows = result_file.read_detections(results)
  found = box_ap.box_ap(official, rows)
  return {
    "protocol": box_ap.PROTOCOL,
    "samples": {
      "images": len(official["images"]),
      "objects": len(official["annotations"]),
      "detections": len(rows),
    },
    "metrics": found.named,
  }


def _classes(data: Path, split: str) -> Classes:
  """Numbered as `slan-eval` numbers them: by the labels of training, if any."""
  try:
    return read_classes(data)
  except InputError:
    return read_classes(data, split)


def _nlvr2(
  results: Path, data: Path | None, split: str, truth: Path | None
) -> Report:
  del truth
  judged = result_file.read_judgements(results)
  told = {r.id: r.statements for r in _records(data, split, ("statements",))}
  for what, names in (
    ("judges", sorted(judged.keys() - told.keys())),
    ("lacks", sorted(told.keys() - judged.keys())),
  ):
    if names:
      raise ValueError(
        f"{results} {what} {len(names)} statements that "
        f"{'are not in' if what == 'judges' else 'are in'} split {split!r}, "
        f"the first is {names[0]}"
      )
  rows = [(judged[name], s) for name, told_of in told.items() for s in told_of]
  right = nlvr_score.right_answers(
    np.array([s.true for _, s in rows]),
    np.array([1.0 if said else -1.0 for said, _ in rows]),
  )
  groups = [s.group for _, s in rows]
  return {
    "protocol": nlvr_score.PROTOCOL,
    "samples": {"statements": len(rows), "groups": len({*groups})},
    "metrics": nlvr_score.nlvr_metrics(right, groups),
    "chance": nlvr_score.chance_metrics(groups),
  }


def _vqa(
  results: Path, data: Path | None, split: str, truth: Path | None
) -> Report:
  del truth
  records = _records(data, split, ("questions", "answers"))
  asked = [question for record in records for question in record.questions]
  answers = result_file.read_answers(results)
  scores = vqa_score.question_scores(asked, answers)
  return {
    "protocol": vqa_score.PROTOCOL,
    "samples": {"images": len(records), "questions": len(asked)},
    "metrics": vqa_score.vqa_metrics(asked, scores),
    "chance": vqa_score.chance_metrics(asked),
  }


_SCORES: dict[str, Callable[..., Report]] = {
  "captioning": _captioning,
  "detection": _detection,
  "nlvr2": _nlvr2,
  "vqa": _vqa,
}


def _records(
  data: Path, split: str, needs: tuple[str, ...]
) -> list[PartRecord]:
  source = PartSource(data, split, needs)
  return [source[number] for number in range(len(source))]


def _official(path: Path, parts: dict[str, set[str]]) -> dict[str, Any]:
  """COCO's annotations: lists of objects with the named keys."""
  try:
    table = json.loads(path.read_bytes())
    if "annotations" not in table and "images" in table:
      raise ValueError(
        "pictures without annotations: the truth of a test split is known to "
        "the server alone, submit the result file there"
      )
    for part, keys in parts.items():
      for place, row in enumerate(table[part]):
        if missing := sorted(keys - row.keys()):
          raise ValueError(f"{part}, row {place}: no {', '.join(missing)}")
  except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f"{path}: not a file of COCO's annotations ({error!r})"
    ) from error
  return table


if __name__ == "__main__":
  main()
