"""COCO Captions, from its official files or Karpathy's list of splits.

The source directory holds the pictures and, for each split, a file of captions
and perhaps one of object boxes:

    captions_train2017.json  instances_train2017.json  train2017/
    captions_val2017.json    instances_val2017.json    val2017/

(at the top or in annotations/), or a small set without split names:

    captions.json  instances.json  images/

or `dataset_coco.json` with train2014/ and val2014/. That list decides when it
is there, for it names the pictures of the usual test splits; boxes come from
instances_*2014.json where those lie beside it.
"""

import collections
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from etils import epath

from data.boxes import fractions
from data.errors import PreparationError
from data.source import Example, Source, read_file, stated_size

_KARPATHY = "dataset_coco.json"
_KARPATHY_SPLITS = {"restval": "train"}  # as in all published results
_FIRST = ("train", "val", "test")


class _Files(NamedTuple):
  captions: epath.Path
  instances: epath.Path | None
  folders: list[str]  # that may hold the pictures


class CocoCaptions(Source):
  """Photographs with captions and object boxes."""

  def items(self) -> Iterator[tuple[str, Any]]:
    if not self.root.is_dir():
      raise PreparationError(f"--source {self.root} is not a directory")
    for place in (self.root, self.root / "annotations"):
      if (place / _KARPATHY).is_file():
        yield from _karpathy_items(place / _KARPATHY)
        return
    for split, files in find_files(self.root).items():
      for item in _official_items(files):
        yield split, item

  def read(self, split: str, item: Any) -> Iterator[Example]:
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
    )

  def label(self, item: Any) -> str:
    return str(item["file"])


def find_files(root: epath.Path) -> dict[str, _Files]:
  """Caption files, box files and picture folders by split.

  Args:
    root: Directory of the official files.

  Returns:
    `train`, `val`, ... in that order; what has no split name is `train`.

  Raises:
    PreparationError: It holds no caption file, or two for one split.
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
  if not found:
    raise PreparationError(
      f"--source {root} holds no captions*.json, neither there nor in "
      "annotations/; expected COCO's official files, such as "
      f"captions_train2017.json, or captions.json, or {_KARPATHY}"
    )
  order = sorted(
    found, key=lambda s: (_FIRST.index(s) if s in _FIRST else 3, s)
  )
  return {split: found[split] for split in order}


def _official_items(files: _Files) -> Iterator[dict[str, Any]]:
  table = read_table(files.captions)
  captions = collections.defaultdict(list)
  for row in table["annotations"]:
    captions[row["image_id"]].append(row.get("caption"))
  objects = read_objects([files.instances] if files.instances else [])
  for entry in table["images"]:
    yield {
      "id": entry["id"],
      "file": entry["file_name"],
      "folders": files.folders,
      "size": [entry.get("width"), entry.get("height")],
      "captions": captions[entry["id"]],
      "objects": objects.get(entry["id"], []),
    }


def _karpathy_items(path: epath.Path) -> Iterator[tuple[str, Any]]:
  table = _load(path)
  folder = path.parent
  boxes = [folder / f"instances_{s}2014.json" for s in ("train", "val")]
  sizes: dict[Any, list] = {}
  objects = read_objects([box for box in boxes if box.is_file()], sizes)
  rows = []
  try:
    for entry in table["images"]:
      split = _KARPATHY_SPLITS.get(entry["split"], entry["split"])
      place = entry.get("filepath", "")
      item = {
        "id": entry.get("cocoid", entry["imgid"]),
        "file": entry["filename"],
        "folders": [place, f"images/{place}", "images"],
        "size": sizes.get(entry.get("cocoid")),
        "captions": [sentence["raw"] for sentence in entry["sentences"]],
        "objects": objects.get(entry.get("cocoid"), []),
      }
      rows.append((split, item))
  except (KeyError, TypeError, AttributeError) as error:
    raise PreparationError(
      f"{path} is not Karpathy's list: {type(error).__name__} {error}"
    ) from error
  yield from sorted(
    rows, key=lambda row: _FIRST.index(row[0]) if row[0] in _FIRST else 3
  )


def read_table(path: epath.Path) -> dict[str, Any]:
  """A file in COCO's format.

  Raises:
    PreparationError: It is not.
  """
  table = _load(path)
  wanted = {"images": ("id", "file_name"), "annotations": ("image_id",)}
  try:
    for name, keys in wanted.items():
      for row in table[name]:
        for key in keys:
          hash(row[key])
  except (KeyError, TypeError) as error:
    raise PreparationError(
      f"{path} is not in COCO's format: {type(error).__name__} {error}"
    ) from error
  return table


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
    table = read_table(path)
    try:
      names = {row["id"]: row["name"] for row in table["categories"]}
      for row in table["annotations"]:
        label = names.get(row["category_id"], "")
        objects[row["image_id"]].append(
          (label, row.get("bbox"), bool(row.get("iscrowd")))
        )
      for row in table["images"] if sizes is not None else ():
        sizes[row["id"]] = [row.get("width"), row.get("height")]
    except (KeyError, TypeError, AttributeError) as error:
      raise PreparationError(
        f"{path} is not in COCO's format: {type(error).__name__} {error}"
      ) from error
  return objects
