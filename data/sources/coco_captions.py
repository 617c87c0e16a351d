"""COCO Captions, from its official files or Karpathy's list of splits.

The source directory holds the pictures and, for each split, a file of captions
and perhaps one of object boxes:

    captions_train2017.json  instances_train2017.json  train2017/
    captions_val2017.json    instances_val2017.json    val2017/

(at the top or in annotations/), or a small set without split names:

    captions.json  instances.json  images/

or `dataset_coco.json` with train2014/ and val2014/. That list decides when it
is there, for it names the pictures of the usual test splits; boxes come from
instances_*2014.json where those lie beside it. `--test-list` adds pictures
whose captions only COCO's server knows.
"""

import argparse
import collections
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from etils import epath

from data.boxes import fractions
from data.errors import PreparationError
from data.listing import is_split
from data.source import Example, Skip, Source, read_file, stated_size
from data.sources.coco_test import TestList, add_test_list, find_test_list

_KARPATHY = "dataset_coco.json"
_KARPATHY_SPLITS = {"restval": "train"}  # as in all published results
_FIRST = ("train", "val", "test")


class _Files(NamedTuple):
  captions: epath.Path
  instances: epath.Path | None
  folders: list[str]  # that may hold the pictures


class CocoCaptions(Source):
  """Photographs with captions and object boxes."""

  test_list: str | None = None

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    add_test_list(parser)

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    made = cls(options.source)
    made.test_list = options.test_list
    return made

  def items(self) -> Iterator[tuple[str, Any]]:
    if not self.root.is_dir():
      raise PreparationError(f"--source {self.root} is not a directory")
    yield from self._annotated()
    if self.test_list:
      found = find_test_list(self.root, self.test_list)
      for item in _test_items(found):
        yield found.split, item

  def _annotated(self) -> Iterator[tuple[str, Any]]:
    for place in (self.root, self.root / "annotations"):
      if (place / _KARPATHY).is_file():
        yield from _karpathy_items(place / _KARPATHY)
        return
    found = find_files(self.root, required=not self.test_list)
    for split, files in found.items():
      for item in _official_items(files):
        yield split, item

  def read(self, split: str, item: Any) -> Iterator[Example | Skip]:
    if "left_out" in item:
      yield Skip(item["left_out"], item["file"])
      return
    image = read_file(self.root, item["file"], item["folders"])
    size = stated_size(item["size"])
    yield Example(
      str(item["id"]),
      image,
      item["captions"],
      size=size,
      objects=[
        (label, fractions(box, size or (0, 0)), crowd)
        for label, box, crowd in item["objects"]
      ],
      captionless=item.get("captionless", False),
    )

  def label(self, item: Any) -> str:
    return str(item["file"])


def find_files(root: epath.Path, *, required: bool = True) -> dict[str, _Files]:
  """Caption files, box files and picture folders by split.

  Args:
    root: Directory of the official files.
    required: Whether there must be one.

  Returns:
    `train`, `val`, ... in that order; what has no split name is `train`.

  Raises:
    PreparationError: It holds no caption file that is required, or two for one
      split.
  """
  found: dict[str, _Files] = {}
  for place in (root, root / "annotations"):
    for path in sorted(place.glob("captions*.json")):
      tag = path.stem.removeprefix("captions").strip("_")
      split = tag.rstrip("0123456789") or "train"
      if split in found:
        raise PreparationError(
          f"--source {root}: {found[split].captions} and {path} are both "
          f"captions of {split!r}; keep one"
        )
      instances = path.parent / path.name.replace("captions", "instances", 1)
      folders = [tag] if tag else []
      found[split] = _Files(
        captions=path,
        instances=instances if instances.is_file() else None,
        folders=[*folders, f"images/{tag}", "images"],
      )
  if required and not found:
    raise PreparationError(
      f"--source {root} holds no captions*.json, neither there nor in "
      "annotations/; expected COCO's official files, such as "
      f"captions_train2017.json, or captions.json, or {_KARPATHY}"
    )
  order = sorted(found, key=lambda split: (_place(split), split))
  return {split: found[split] for split in order}


def _official_items(files: _Files) -> Iterator[dict[str, Any]]:
  images, annotations = read_table(files.captions)
  captions: dict[Any, list] = {row.get("id"): [] for row in images}
  strays = []
  for row in annotations:
    found = captions.get(row.get("image_id"))
    if found is None:
      strays.append(row)
    else:
      found.append(row.get("caption"))
  objects = read_objects([files.instances] if files.instances else [])
  for entry in images:
    yield {
      "id": entry.get("id"),
      "file": entry.get("file_name"),
      "folders": files.folders,
      "size": [entry.get("width"), entry.get("height")],
      "captions": captions[entry.get("id")],
      "objects": objects.get(entry.get("id"), []),
    }
  for row in strays:
    yield {"left_out": "caption without a picture", "file": f"{row}"[:80]}


def _test_items(found: TestList) -> Iterator[dict[str, Any]]:
  (images,) = _lists(found.path, ("images",))
  for entry in images:
    yield {
      "id": entry.get("id"),
      "file": entry.get("file_name"),
      "folders": found.folders,
      "size": [entry.get("width"), entry.get("height")],
      "captions": [],
      "objects": [],
      "captionless": True,
    }


def _karpathy_items(path: epath.Path) -> Iterator[tuple[str, Any]]:
  (images,) = _lists(path, ("images",))
  folder = path.parent
  boxes = [folder / f"instances_{s}2014.json" for s in ("train", "val")]
  sizes: dict[Any, list] = {}
  objects = read_objects([box for box in boxes if box.is_file()], sizes)
  rows = []
  for entry in images:
    split = str(entry.get("split", "train"))
    place = entry.get("filepath") or ""
    number = entry.get("cocoid", entry.get("imgid"))
    sentences = entry.get("sentences")
    item = {
      "id": number,
      "file": entry.get("filename"),
      "folders": [f"{place}", f"images/{place}", "images"],
      "size": sizes.get(number),
      "captions": [
        sentence.get("raw")
        for sentence in (sentences if isinstance(sentences, list) else ())
        if isinstance(sentence, dict)
      ],
      "objects": objects.get(number, []),
    }
    if not is_split(split):
      split = "train"
      item = {"left_out": "split is not a plain word", "file": str(number)}
    rows.append((_KARPATHY_SPLITS.get(split, split), item))
  yield from sorted(rows, key=lambda row: _place(row[0]))


def _place(split: str) -> int:
  return _FIRST.index(split) if split in _FIRST else len(_FIRST)


def read_table(path: epath.Path) -> tuple[list[dict], list[dict]]:
  """Pictures and annotations of a file in COCO's format.

  What is no row of the format is an empty one: it costs itself alone.

  Raises:
    PreparationError: It is not in this format.
  """
  images, annotations = _lists(path, ("images", "annotations"))
  return images, annotations


def _lists(path: epath.Path, names: tuple[str, ...]) -> list[list[dict]]:
  table = _load(path)
  found = [table.get(n) if isinstance(table, dict) else None for n in names]
  if not all(isinstance(rows, list) for rows in found):
    wanted = " and ".join(f'"{name}"' for name in names)
    raise PreparationError(
      f"{path} is not in the expected format: it needs lists called {wanted}"
    )
  return [[_row(row) for row in rows] for rows in found]


def _row(row: Any) -> dict[str, Any]:
  """A row whose numbers can be looked up, whatever it was."""
  if not isinstance(row, dict):
    return {}
  return {
    key: value
    for key, value in row.items()
    if not isinstance(value, (list, dict)) or key in ("bbox", "sentences")
  }


def _load(path: epath.Path) -> Any:
  try:
    return json.loads(path.read_bytes().decode("utf-8", "replace"))
  except (OSError, ValueError, RecursionError) as error:
    raise PreparationError(f"{path} is not JSON: {error}") from error


def read_objects(
  paths: list[epath.Path], sizes: dict[Any, list] | None = None
) -> dict[Any, list]:
  """Rows of (label, box [x, y, w, h] in pixels, crowd), by picture.

  Args:
    paths: Files of boxes in COCO's format.
    sizes: Filled with the width and height of every picture listed there.

  Raises:
    PreparationError: A file is not in COCO's format.
  """
  objects: dict[Any, list] = collections.defaultdict(list)
  for path in paths:
    images, annotations, categories = _lists(
      path, ("images", "annotations", "categories")
    )
    names = {row.get("id"): row.get("name") for row in categories}
    for row in annotations:
      label = names.get(row.get("category_id"))
      objects[row.get("image_id")].append(
        (label, row.get("bbox"), bool(row.get("iscrowd")))
      )
    for row in images if sizes is not None else ():
      sizes[row.get("id")] = [row.get("width"), row.get("height")]
  return objects
