"""People's own data: JSON lines, a table, or a folder of pictures with texts.

Each line of a manifest is one picture:

    {"image": "a.jpg", "captions": ["a red bicycle"]}

with, where there are any, "id", "split", "phrases", "objects", "questions";
data/README.md describes them. Paths are relative to the manifest. Boxes are
[x1, y1, x2, y2] in pixels.
"""

import argparse
import hashlib
from collections import Counter
from typing import Any, Self

from etils import epath

from data.errors import PreparationError, Unusable
from data.listing import Listing, in_order, is_split
from data.own.box import FRACTIONS, REVERSED
from data.own.entries import ENDINGS, entries
from data.own.entry import BrokenEntry, EntryReader
from data.row import Problem, Row
from data.row_source import RowSource

_SPLITS = ("train", "val", "test")
_HASHES = 2**32
_ENOUGH = 5  # boxes of another form; fewer are slips


class Manifest(RowSource):
  """Pictures and captions of one's own."""

  val_fraction = 0.0

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
      "--val-fraction",
      type=_fraction,
      default=0.0,
      help="share of the training pictures to hold out as val",
    )

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    made = cls(options.source)
    made.val_fraction = options.val_fraction
    return made

  def read_listing(self) -> Listing:
    return read_manifest(self.root, val_fraction=self.val_fraction)

  def open(self, name: str, folders: tuple[str, ...]) -> bytes:
    """A picture; one's own files may lie anywhere."""
    home = self.root if self.root.is_dir() else self.root.parent
    try:
      return (home / folders[0] / name).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
      raise Unusable("image missing") from error
    except (OSError, ValueError) as error:
      raise Unusable("image unreadable") from error


def read_manifest(root: epath.Path, *, val_fraction: float = 0.0) -> Listing:
  """Reads a manifest, a table or a folder, or one of them per split.

  Args:
    root: `x.jsonl`, `x.csv` or `x.tsv`; a folder of pictures with texts of
      the same name; or a directory with any of these named train, val, test.
    val_fraction: Share of `train` to hold out as `val`, chosen by the names
      of the pictures, so that it stays the same when pictures are added.

  Returns:
    The rows and what was left out.

  Raises:
    PreparationError: A file cannot be read, or the boxes have another form.
  """
  reader, problems = EntryReader(), []
  splits: dict[str, dict[str, Row]] = {}
  for split, path in find_files(root).items():
    folder = path.name if path.is_dir() and path != root else ""
    for where, entry in entries(path, problems):
      try:
        row = reader.row(where, entry, folder)
        goes = _split(entry, split)
      except BrokenEntry as error:
        problems.append((str(error), where))
        continue
      if goes == "train" and _draw(row.images[0]) < val_fraction:
        goes = "val"
      _add(splits.setdefault(goes, {}), row, "id" in entry, problems)
  _check_boxes(root, reader.boxes)
  rows = {split: list(splits[split].values()) for split in in_order(splits)}
  asked = any(row.questions for kept in rows.values() for row in kept)
  return Listing(rows, ("questions",) if asked else (), problems)


def find_files(root: epath.Path) -> dict[str, epath.Path]:
  """The manifest, table or folder of each split.

  Raises:
    PreparationError: There is none, or there are two for one split.
  """
  if root.is_file() and root.suffix.lower() in ENDINGS:
    return {"train": root}
  if not root.is_dir():
    raise PreparationError(
      f"--source {root}: expected a folder or a file that ends in "
      f"{', '.join(ENDINGS)}"
    )
  found: dict[str, epath.Path] = {}
  for path in sorted(root.iterdir()):
    split = path.name if path.is_dir() else path.stem
    known = path.is_dir() or path.suffix.lower() in ENDINGS
    if split not in _SPLITS or not known:
      continue
    if split in found:
      raise PreparationError(
        f"--source {root}: {found[split].name} and {path.name} both hold "
        f"{split!r}; name one of them as the source"
      )
    found[split] = path
  return found or {"train": root}


def _fraction(text: str) -> float:
  value = float(text)
  if not 0 <= value < 1:
    raise argparse.ArgumentTypeError(f"expected 0 to 1, got {value}")
  return value


def _split(entry: dict[str, Any], usual: str) -> str:
  given = entry.get("split") or usual
  if not is_split(given):
    raise BrokenEntry("split is not a plain word")
  return given


def _draw(name: str) -> float:
  """A number in [0, 1) that depends on the name alone."""
  digest = hashlib.blake2b(
    name.encode("utf-8", "surrogatepass"), digest_size=4
  ).digest()
  return int.from_bytes(digest, "little") / _HASHES


def _add(
  rows: dict[str, Row], row: Row, named: bool, problems: list[Problem]
) -> None:
  """Adds a row; entries of one picture that have no id are one record."""
  earlier = rows.get(row.name)
  if earlier is None:
    rows[row.name] = row
  elif named:
    problems.append(("id repeated, the first one kept", row.name))
  else:
    shift = len(earlier.captions)
    phrases = (p._replace(caption=p.caption + shift) for p in row.phrases)
    rows[row.name] = earlier._replace(
      captions=earlier.captions + row.captions,
      phrases=(*earlier.phrases, *phrases),
      objects=earlier.objects + row.objects,
      questions=earlier.questions + row.questions,
      notes=earlier.notes + row.notes,
    )


def _check_boxes(root: epath.Path, boxes: Counter[str]) -> None:
  """Refuses a source whose boxes are not x1, y1, x2, y2 in pixels."""
  total = boxes.total()
  if boxes[FRACTIONS] * 2 > total:
    raise PreparationError(
      f"{root}: {boxes[FRACTIONS]:,} of {total:,} boxes lie within [0, 1], "
      "so they look like fractions of the image; write x1, y1, x2, y2 in "
      "pixels: x times the width, y times the height"
    )
  # Boxes of x, y, width, height end before they begin half of the time.
  if boxes[REVERSED] >= _ENOUGH and boxes[REVERSED] * 10 > total:
    raise PreparationError(
      f"{root}: {boxes[REVERSED]:,} of {total:,} boxes end before they "
      "begin, so they look like x, y, width, height; write x1, y1, x2, y2"
    )
