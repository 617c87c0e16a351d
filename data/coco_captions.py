"""Builder of COCO Captions from its official files, pictures untouched.

The source directory holds the pictures and, for each split, a file of captions
and perhaps one of object boxes:

    captions_train2017.json  instances_train2017.json  train2017/
    captions_val2017.json    instances_val2017.json    val2017/

(at the top or in annotations/), or a small set without split names:

    captions.json  instances.json  images/
"""

import collections
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data.builder import CaptionBuilder, Record
from data.errors import PreparationError
from data.schema import record

_AHEAD = 64  # pictures checked ahead of the writer
_SMALLEST_SIDE = 8  # pixels; the loader takes nothing less


class _Files(NamedTuple):
  captions: Path
  instances: Path | None
  images: list[Path]  # directories that may hold the pictures


class CocoCaptions(CaptionBuilder):
  """Photographs with captions and object boxes."""

  def __init__(self, *, source: Path, **kwargs):
    """Finds the files.

    Args:
      source: Directory of the official files.
      **kwargs: Passed to CaptionBuilder.

    Raises:
      PreparationError: The directory or its caption files are missing.
    """
    self._files = find_files(source)
    self._tables = {
      split: _read_table(files.captions) for split, files in self._files.items()
    }
    super().__init__(**kwargs)

  def split_sizes(self) -> dict[str, int]:
    return {split: len(t["images"]) for split, t in self._tables.items()}

  def captions(self) -> Iterator[str]:
    """Captions of the training split, in the order of its file."""
    table = self._tables.get("train") or next(iter(self._tables.values()))
    return (row["caption"].strip() for row in table["annotations"])

  def records(self, split: str) -> Iterator[Record]:
    table, files = self._tables[split], self._files[split]
    captions = collections.defaultdict(list)
    for row in table["annotations"]:
      captions[row["image_id"]].append(" ".join(row["caption"].split()))
    objects = _objects(files.instances)

    def read(entry: dict[str, Any]) -> tuple[dict, bytes | str]:
      return entry, _read_image(files.images, entry["file_name"])

    for entry, image in _ordered_map(read, table["images"]):
      self.report.count_read()
      name = entry["file_name"]
      texts = [text for text in captions[entry["id"]] if text]
      if isinstance(image, str):
        self.report.skip(image, name)
      elif not texts:
        self.report.skip("no caption", name)
      else:
        yield self._record(entry, image, texts, objects.get(entry["id"], []))

  def _record(
    self,
    entry: dict[str, Any],
    image: bytes,
    captions: list[str],
    objects: list[tuple[str, list[float], bool]],
  ) -> Record:
    width, height = Image.open(io.BytesIO(image)).size
    stated = entry.get("width", width), entry.get("height", height)
    kept = []
    if stated != (width, height) and objects:
      # Boxes of another version of the picture would be wrong silently.
      self.report.skip("boxes: picture differs in size", entry["file_name"])
      objects = []
    for label, (x, y, w, h), crowd in objects:
      corners = np.array(
        [x / width, y / height, (x + w) / width, (y + h) / height]
      )
      box = corners.clip(0, 1).astype(np.float32)
      if (box[2:] > box[:2]).all():
        kept.append((label, box, crowd))
      else:
        self.report.skip("box: empty or outside", entry["file_name"])
    return record(
      str(entry["id"]), image, (width, height), captions, objects=kept
    )


def find_files(source: Path) -> dict[str, _Files]:
  """Caption files, box files and picture directories by split.

  Args:
    source: Directory of the official files.

  Returns:
    `train`, `val`, ... in that order; what has no split name is `train`.

  Raises:
    PreparationError: The directory is missing or holds no caption file.
  """
  if not source.is_dir():
    raise PreparationError(f"--source {source} is not a directory")
  places = [source, source / "annotations"]
  found = {}
  for place in places:
    for path in sorted(place.glob("captions*.json")):
      tag = path.stem.removeprefix("captions").strip("_")
      split = tag.rstrip("0123456789") or "train"
      if split in found:
        raise PreparationError(
          f"--source {source}: {found[split].captions} and {path} are both "
          f"captions of {split!r}; keep one"
        )
      instances = path.with_name(path.name.replace("captions", "instances", 1))
      images = [source / tag, source / "images" / tag, source / "images"]
      found[split] = _Files(
        captions=path,
        instances=instances if instances.is_file() else None,
        images=[image for image in images if tag or image != source],
      )
  if not found:
    raise PreparationError(
      f"--source {source} holds no captions*.json, neither there nor in "
      "annotations/; expected COCO's official files, such as "
      "captions_train2017.json, or captions.json"
    )
  first = ("train", "val", "test")
  order = sorted(found, key=lambda s: (first.index(s) if s in first else 3, s))
  return {split: found[split] for split in order}


def _read_table(path: Path) -> dict[str, Any]:
  try:
    table = json.loads(path.read_text("utf-8"))
    wanted = {"images": ("id", "file_name")}
    wanted["annotations"] = ("image_id",)
    for name, keys in wanted.items():
      for row in table[name]:
        for key in keys:
          row[key]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise PreparationError(
      f"{path} is not in COCO's format: {type(error).__name__} {error}"
    ) from error
  return table


def _objects(path: Path | None) -> dict[int, list]:
  """Label, box [x, y, w, h] in pixels and crowd flag, by picture."""
  objects: dict[int, list] = collections.defaultdict(list)
  if path:
    table = _read_table(path)
    names = {row["id"]: row["name"] for row in table["categories"]}
    for row in table["annotations"]:
      objects[row["image_id"]].append(
        (names[row["category_id"]], row["bbox"], bool(row.get("iscrowd")))
      )
  return objects


def _read_image(places: list[Path], name: str) -> bytes | str:
  """The encoded picture, or the reason why it cannot be used."""
  path = next((p / name for p in places if (p / name).is_file()), None)
  if path is None:
    return "image missing"
  data = path.read_bytes()
  try:
    with Image.open(io.BytesIO(data)) as picture:
      picture.load()
      side = min(picture.size)
  except Exception:
    return "image corrupt"
  return data if side >= _SMALLEST_SIDE else "image under 8 pixels"


def _ordered_map(function, items) -> Iterator:
  """Maps with threads, a bounded number ahead, results in order."""
  with ThreadPoolExecutor() as threads:
    waiting: collections.deque = collections.deque()
    for item in items:
      waiting.append(threads.submit(function, item))
      if len(waiting) == _AHEAD:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
