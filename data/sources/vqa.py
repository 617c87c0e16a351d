"""Reader of VQA v2: questions about COCO's 2014 pictures, ten answers each.

v2_OpenEnded_mscoco_train2014_questions.json    train2014/*.jpg
v2_mscoco_train2014_annotations.json            val2014/*.jpg
v2_OpenEnded_mscoco_val2014_questions.json      test2015/*.jpg
v2_mscoco_val2014_annotations.json
v2_OpenEnded_mscoco_test2015_questions.json
"""

import argparse
import json
import re
from collections import Counter
from typing import Any, Self

from etils import epath

from data.captions import clean_caption
from data.errors import PreparationError
from data.listing import Listing, plain, read_json
from data.row import Problem, QuestionRow, Row
from data.row_source import RowSource
from data.source import at_least

ANSWERS = "answers.json"
_QUESTIONS = re.compile(r"v2_OpenEnded_mscoco_([a-z-]+)(\d+)_questions")
_SPLITS = {
  "train": "train",
  "val": "val",
  "test": "test",
  "test-dev": "test_dev",
}


class Vqa(RowSource):
  """Questions about pictures, with the answers of ten people."""

  answer_count = 9

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
      "--answer-count",
      type=at_least(1),
      default=cls.answer_count,
      help="how often an answer must be the agreed one to enter answers.json",
    )

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    made = cls(options.source)
    made.answer_count = options.answer_count
    return made

  def read_listing(self) -> Listing:
    return read_vqa(self.root, answer_count=self.answer_count)


def read_vqa(root: epath.Path, *, answer_count: int = 9) -> Listing:
  """Reads the official files that are there.

  Args:
    root: Directory of the files, at the top or in annotations/.
    answer_count: How many questions of `train` an answer must be the agreed
      one of to enter the list; 9 is usual.

  Returns:
    One row per picture with all its questions. `answers.json` is the list of
    answers to rank, the most frequent first, built from `train` alone.
    Questions of a test split have no answers.

  Raises:
    PreparationError: There are no questions, or `train` has no answers.
  """
  found: dict[str, tuple[epath.Path, str]] = {}
  for folder in (root, root / "annotations"):
    for path in sorted(folder.glob("*_questions.json")):
      match = _QUESTIONS.fullmatch(path.stem)
      if match and match[1] in _SPLITS:
        found.setdefault(_SPLITS[match[1]], (path, "".join(match.groups())))
  if not found:
    raise PreparationError(
      f"--source {root} holds no questions; expected VQA's official files, "
      "such as v2_OpenEnded_mscoco_train2014_questions.json"
    )
  problems: list[Problem] = []
  splits, files = {}, {}
  for split in [s for s in _SPLITS.values() if s in found]:
    path, tag = found[split]
    kinds = {"question_id": int | str, "image_id": int, "question": str}
    table = read_json(path, {"questions": kinds}, problems)
    answers = _answers(path, tag, split, problems)
    if split == "train":
      files[ANSWERS] = _list_text(answers, answer_count)
    # test-dev is a part of the pictures of test.
    year = tag.removeprefix("test-dev").removeprefix("test")
    folder = f"test{year}" if split.startswith("test") else tag
    splits[split] = _rows(split, table, answers, folder, problems)
  return Listing(splits, ("questions",), problems, files)


def _answers(
  path: epath.Path, tag: str, split: str, problems: list[Problem]
) -> dict[int, dict[str, Any]]:
  """Annotations by question; none for a test split, whose are secret."""
  file = path.with_name(f"v2_mscoco_{tag}_annotations.json")
  if not file.is_file():
    if split.startswith("test"):
      return {}
    raise PreparationError(
      f"{file} is missing: {split} without answers cannot be used; add it, or "
      f"remove {path.name}"
    )
  kinds = {"question_id": int | str, "answers": list}
  table = read_json(file, {"annotations": kinds}, problems)
  return {row["question_id"]: row for row in table["annotations"]}


def _list_text(answers: dict[int, dict[str, Any]], least: int) -> str:
  counts = Counter(
    clean_caption(row.get("multiple_choice_answer"))[0]
    for row in answers.values()
  )
  counts.pop("", None)
  kept = [a for a, n in counts.items() if n >= least]
  kept.sort(key=lambda answer: (-counts[answer], answer))
  return json.dumps(kept, ensure_ascii=False, indent=0) + "\n"


def _rows(
  split: str,
  table: dict[str, Any],
  answers: dict[int, dict[str, Any]],
  folder: str,
  problems: list[Problem],
) -> list[Row]:
  """One row per picture, in the order of their first questions."""
  questions: dict[int, list[QuestionRow]] = {}
  for row in table["questions"]:
    number = row["question_id"]
    text, answered = plain(row["question"]), answers.get(number, {})
    given = [
      plain(answer.get("answer"))
      for answer in answered.get("answers", [])
      if isinstance(answer, dict)
    ]
    if not text:
      problems.append(("question without text", str(number)))
      continue
    if answers and not any(given):
      problems.append(("question without answers", str(number)))
      continue
    counts = Counter(answer for answer in given if answer)
    question = QuestionRow(
      str(number), text, plain(answered.get("answer_type")), dict(counts)
    )
    questions.setdefault(row["image_id"], []).append(question)
  return [
    Row(
      # test and test-dev share pictures; names are unique.
      name=f"{split}-{image}",
      images=(f"COCO_{folder}_{image:012d}.jpg",),
      folders=(folder, f"images/{folder}", "images"),
      questions=tuple(asked),
      needs=("questions",),
    )
    for image, asked in questions.items()
  ]
