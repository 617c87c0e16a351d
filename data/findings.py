"""What is worth knowing about a data set before hours are spent on it."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

ERROR, WARNING = "error", "warning"
_NAMES_KEPT = 3  # first names listed per finding
LONG = 30  # words; what is beyond is cut by text.max_length = 32 tokens
_SMALL = 64  # pixels of the shorter side
_LARGE = 4_000  # pixels of the longer side
_THIN = 4  # longer side over shorter side
# From so many and this share on, boxes of another form are no slip.
_ENOUGH, _MANY = 5, 0.2
_BEYOND = frozenset(
  {"box: clipped to the picture", "box: dropped, empty or outside"}
)


class Finding(NamedTuple):
  """One line of the table.

  Attributes:
    level: ERROR when something is lost or wrong, WARNING to look at.
    what: In words.
    count: How often.
    first: The first names.
  """

  level: str
  what: str
  count: int
  first: list[str]


class Counts:
  """What one split holds; sizes in pixels, words of each caption."""

  def __init__(self) -> None:
    self.held: Counter[str] = Counter()
    self.sizes: list[tuple[int, int]] = []
    self.words: list[int] = []

  def add(self, record: Mapping[str, Any]) -> None:
    """Counts a record."""
    self.held["records"] += 1
    self.held["captions"] += len(record["captions"])
    self.held["phrases"] += len(record["phrases"]["text"])
    self.held["boxes"] += len(boxes_of(record))
    for part in ("questions", "statements"):
      self.held[part] += len(record.get(part, {}).get("text", ()))
    self.sizes.append((int(record["width"]), int(record["height"])))
    self.words += [len(text.split()) for text in record["captions"]]


class Findings:
  """Looks at records one by one and remembers what stands out.

  Attributes:
    splits: What each split holds.
  """

  def __init__(self) -> None:
    self.splits: dict[str, Counts] = {}
    self._found: dict[tuple[str, str], tuple[int, list[str]]] = {}
    self._pictures: dict[bytes, str] = {}  # where each picture was seen first
    self._seen: set[bytes] = set()  # pictures and captions
    self._names: set[str] = set()
    self._beyond = self._tiny = self._boxes = 0

  def add(self, level: str, what: str, name: str) -> None:
    """Counts something and keeps the first few names."""
    count, first = self._found.get((level, what), (0, []))
    if len(first) < _NAMES_KEPT:
      first = [*first, name]
    self._found[level, what] = count + 1, first

  def look(
    self, split: str, record: Mapping[str, Any], notes: list[str]
  ) -> None:
    """Looks at a record.

    Args:
      split: Where it is.
      record: Of `schema`.
      notes: What was repaired or dropped when it was made.
    """
    name = record["id"]
    if name in self._names:
      self.add(ERROR, "id repeated: only the first one is kept", name)
    self._names.add(name)
    for note in notes:
      self.add(ERROR if "dropped" in note else WARNING, note, name)
      self._beyond += note in _BEYOND
      self._boxes += note.startswith("box: dropped")
    self.splits.setdefault(split, Counts()).add(record)
    self._look_at_picture(split, name, record)
    self._look_at_captions(name, record["captions"])
    boxes = boxes_of(record)
    self._boxes += len(boxes)
    corners = boxes * np.tile([record["width"], record["height"]], 2)
    self._tiny += int((corners <= 1).all(-1).sum()) if len(boxes) else 0

  def _look_at_picture(
    self, split: str, name: str, record: Mapping[str, Any]
  ) -> None:
    short, long = sorted((int(record["width"]), int(record["height"])))
    if short < _SMALL:
      self.add(WARNING, f"picture under {_SMALL} pixels", name)
    if long > _LARGE:
      self.add(WARNING, f"picture over {_LARGE:,} pixels", name)
    if long > _THIN * short:
      self.add(WARNING, f"picture longer than {_THIN}:1", name)
    if "more_images" in record:
      return  # a picture may well be a part of several pairs
    digest = _digest(record["image"])
    earlier = self._pictures.setdefault(digest, split)
    if earlier != split:
      self.add(WARNING, f"picture of {earlier} again in {split}", name)
    elif digest in self._seen:
      self.add(WARNING, "picture repeated", name)
    self._seen.add(digest)

  def _look_at_captions(self, name: str, captions: list[str]) -> None:
    for text in captions:
      if len(text.split()) > LONG:
        self.add(WARNING, f"caption over {LONG} words: its end is cut", name)
    if len(set(captions)) < len(captions):
      self.add(WARNING, "caption repeated within a record", name)
    for text in set(captions):
      digest = _digest(text.encode())
      if digest in self._seen:
        self.add(WARNING, "caption of an earlier record again", name)
      self._seen.add(digest)

  def table(self) -> list[Finding]:
    """Everything found: errors first, the most frequent first."""
    found = dict(self._found)
    for count, why in (
      (self._beyond, "reach beyond the picture: is x1, y1, x2, y2 meant?"),
      (self._tiny, "lie in the first pixel: are they fractions, not pixels?"),
    ):
      if count >= _ENOUGH and count > _MANY * self._boxes:
        found[ERROR, f"many boxes {why}"] = count, []
    rows = [Finding(*key, *entry) for key, entry in found.items()]
    return sorted(rows, key=lambda row: (row.level, -row.count, row.what))


def boxes_of(record: Mapping[str, Any]) -> np.ndarray:
  """Every box of a record: [n, 4] xyxy in [0, 1]."""
  boxes = [record["phrase_boxes"]["box"], record["objects"]["box"]]
  return np.concatenate([np.reshape(b, (-1, 4)) for b in boxes])


def _digest(data: bytes) -> bytes:
  return hashlib.blake2b(data, digest_size=16).digest()
