"""Visual Genome's region descriptions, from its official files.

    region_descriptions.json  image_data.json  VG_100K/  VG_100K_2/

Each distinct description of a picture is a caption, and a phrase with the boxes
of its regions. Half of the pictures are COCO's as well; these are left out.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any, Self

import ijson
from etils import epath

from data.boxes import fractions
from data.captions import clean_caption
from data.errors import PreparationError
from data.source import Example, Skip, Source, read_file, stated_size

_FOLDERS = ("VG_100K", "VG_100K_2", "images", "")


class VisualGenome(Source):
  """Photographs with descriptions of their regions."""

  def __init__(self, root: epath.Path, coco_splits: epath.Path | None = None):
    """Says what to leave out.

    Args:
      root: Directory of the official files.
      coco_splits: Karpathy's dataset_coco.json: then only pictures of its val
        and test splits are left out, not all that are COCO's.
    """
    super().__init__(root)
    self._coco_splits = coco_splits

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
      "--coco-splits",
      type=epath.Path,
      help="dataset_coco.json: leave out only the pictures of COCO's val and "
      "test splits; default: all pictures that are COCO's as well",
    )

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    return cls(options.source, options.coco_splits)

  def items(self) -> Iterator[tuple[str, Any]]:
    held_out = self._held_out()
    pictures = {}
    for row in _rows(self.root / "image_data.json"):
      coco = row.get("coco_id")
      url = row.get("url") or ""
      pictures[_number(row, "image_id", "id")] = (
        str(url).rpartition("/")[2],
        [row.get("width"), row.get("height")],
        coco is not None and (held_out is None or str(coco) in held_out),
      )
    for row in _rows(self.root / "region_descriptions.json"):
      number = _number(row, "id", "image_id")
      name, size, coco = pictures.get(number, ("", None, False))
      item = {"id": number, "file": name or f"{number}.jpg", "coco": coco}
      if not coco:
        item["size"] = size
        item["regions"] = [
          [region.get(key) for key in ("phrase", "x", "y", "width", "height")]
          for region in _list(row.get("regions"))
          if isinstance(region, dict)
        ]
      yield "train", item

  def _held_out(self) -> set[str] | None:
    if self._coco_splits is None:
      return None
    try:
      images = json.loads(self._coco_splits.read_text())["images"]
      return {
        str(image["cocoid"])
        for image in images
        if image["split"] in ("val", "test")
      }
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise PreparationError(
        f"--coco-splits {self._coco_splits} is not Karpathy's "
        f"dataset_coco.json: {type(error).__name__} {error}"
      ) from error

  def read(self, split: str, item: Any) -> Iterator[Example | Skip]:
    if item["coco"]:
      yield Skip("also in COCO", item["file"])
      return
    image = read_file(self.root, item["file"], _FOLDERS)
    size = stated_size(item["size"])
    captions: dict[str, int] = {}
    raw, boxes = [], []
    for text, *box in item["regions"]:
      caption, _ = clean_caption(text)
      if not caption:
        continue
      if caption not in captions:
        captions[caption] = len(captions)
        raw.append(text)
      boxes.append((captions[caption], fractions(box, size or (0, 0))))
    yield Example(
      str(item["id"]),
      image,
      raw,
      size=size,
      phrases=[(text, n, 0, len(text)) for text, n in captions.items()],
      phrase_boxes=boxes,
    )

  def label(self, item: Any) -> str:
    return str(item["file"])


def _number(row: dict[str, Any], *names: str) -> str:
  found = next((row[name] for name in names if name in row), None)
  return str(found)


def _list(value: Any) -> list:
  return value if isinstance(value, list) else []


def _rows(path: epath.Path) -> Iterator[dict[str, Any]]:
  """Rows of a list, one at a time: the descriptions are 700 MB."""
  try:
    with path.open("rb") as file:
      for row in ijson.items(file, "item", use_float=True):
        yield row if isinstance(row, dict) else {}
  except FileNotFoundError as error:
    raise PreparationError(
      f"--source {path.parent} lacks {path.name}; expected Visual Genome's "
      "region_descriptions.json and image_data.json"
    ) from error
  except ijson.JSONError as error:
    raise PreparationError(f"{path} is not JSON: {error}") from error
