"""Reader of COCO's detection files: pictures with boxes of 80 classes.

annotations/instances_train2017.json   train2017/*.jpg
annotations/instances_val2017.json     val2017/*.jpg

`--test-list` adds pictures whose objects only COCO's server knows.
"""

import argparse
import json
from typing import Any, Self

from etils import epath
from tokenizers import Tokenizer

from data.captions import clean_caption
from data.errors import PreparationError
from data.listing import Listing, in_order, read_json
from data.row import ObjectRow, Problem, Row
from data.row_source import RowSource
from data.source import stated_size
from data.sources.coco_test import TestList, add_test_list, find_test_list
from data.vocabulary import learned_tokenizer

CATEGORIES = "categories.json"
_PROMPT = "detect: "
_LARGEST = 1e9  # pixels of an object
_ID = int | str
_PICTURES = {
  "images": {"id": _ID, "file_name": str},
  "categories": {"id": _ID, "name": str},
}
_OBJECTS = {"annotations": {"image_id": _ID, "category_id": _ID, "bbox": list}}


class CocoDetection(RowSource):
  """COCO's pictures and boxes, without captions."""

  files = (CATEGORIES,)
  vocab_size = 8_000
  test_list: str | None = None

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    add_test_list(parser)

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    made = cls(options.source)
    made.vocab_size = getattr(options, "vocab_size", cls.vocab_size)
    made.test_list = options.test_list
    return made

  def read_listing(self) -> Listing:
    listed = self.test_list and find_test_list(self.root, self.test_list)
    return read_detection(self.root, listed or None)

  def tokenizer(self) -> Tokenizer:
    """The words of a prompt that lists the classes."""
    named = json.loads(self.texts()[CATEGORIES])
    prompt = _PROMPT + ", ".join(category["name"] for category in named)
    return learned_tokenizer([prompt], self.vocab_size)


def read_detection(root: epath.Path, listed: TestList | None = None) -> Listing:
  """Reads instances*.json, here or in annotations/.

  Args:
    root: Directory of COCO's files.
    listed: Pictures without annotations, and the categories to find; where
      there is one, instances*.json may be missing.

  Returns:
    Every picture, also those without an object, for the official evaluation
    counts them. `categories.json` keeps COCO's category numbers, which have
    gaps, in the order of the file: the prompt and the scores need them.

  Raises:
    PreparationError: There is no such file, or two for one split.
  """
  files: dict[str, tuple[epath.Path, str]] = {}
  for folder in (root, root / "annotations"):
    for path in sorted(folder.glob("instances*.json")):
      tag = path.stem.removeprefix("instances").strip("_")
      split = tag.rstrip("0123456789") or "train"
      if split in files:
        raise PreparationError(
          f"--source {root}: {files[split][0]} and {path} are both objects "
          f"of {split!r}; keep one"
        )
      files[split] = path, tag
  if not files and listed is None:
    raise PreparationError(
      f"--source {root} holds no instances*.json, neither there nor in "
      "annotations/; expected COCO's official files"
    )
  problems: list[Problem] = []
  splits, categories = {}, {}
  for split in in_order(files):
    path, tag = files[split]
    table = read_json(path, _PICTURES | _OBJECTS, problems)
    names = _names(table)
    categories |= names
    folders = (tag, f"images/{tag}", "images") if tag else ("images", "")
    splits[split] = _rows(table, names, path.name, folders, problems)
  if listed is not None:
    table = read_json(listed.path, _PICTURES, problems) | {"annotations": []}
    names = _names(table)
    categories |= names
    name, folders = listed.path.name, listed.folders
    splits[listed.split] = _rows(table, names, name, folders, problems)
  named = [{"id": k, "name": name} for k, name in categories.items()]
  text = json.dumps(named, indent=2) + "\n"
  return Listing(splits, ("object_areas",), problems, {CATEGORIES: text})


def _names(table: dict[str, Any]) -> dict[int | str, str]:
  return {r["id"]: clean_caption(r["name"])[0] for r in table["categories"]}


def _rows(
  table: dict[str, Any],
  names: dict[int | str, str],
  file: str,
  folders: tuple[str, ...],
  problems: list[Problem],
) -> list[Row]:
  objects: dict[Any, list[ObjectRow]] = {}
  notes: dict[Any, list[str]] = {}
  for row in table["images"]:
    objects[row["id"]], notes[row["id"]] = [], []
  for number, row in enumerate(table["annotations"]):
    image = row["image_id"]
    if image not in objects:
      where = f"{file}: annotation {row.get('id', number)}"
      problems.append(("object of a picture that is not listed", where))
    elif row["category_id"] not in names:
      notes[image].append("object: dropped, unknown category")
    else:
      made = _object(names[row["category_id"]], row)
      if isinstance(made, str):
        notes[image].append(made)
      else:
        objects[image].append(made)
  return [
    Row(
      name=str(row["id"]),
      images=(row["file_name"],),
      folders=folders,
      objects=tuple(objects[row["id"]]),
      size=stated_size((row.get("width"), row.get("height"))),
      needs=(),
      notes=tuple(notes[row["id"]]),
    )
    for row in table["images"]
  ]


def _object(label: str, row: dict[str, Any]) -> ObjectRow | str:
  """An object, or the reason why its box [x, y, w, h] is none."""
  try:
    x, y, w, h = map(float, row["bbox"])
  except (TypeError, ValueError, OverflowError):
    return "box: dropped, not four numbers"
  crowd, area = bool(row.get("iscrowd")), row.get("area")
  known = isinstance(area, (int, float)) and 0 < area < _LARGEST
  return ObjectRow(
    label, (x, y, x + w, y + h), crowd, float(area) if known else 0.0
  )
