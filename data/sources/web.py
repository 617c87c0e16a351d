"""SBU, CC3M and CC12M: captions with addresses, and files fetched from them.

Either what img2dataset left (see `img2dataset.py`), or the published table and
a folder of pictures, which whatever fetched them named by row or by address.
"""

import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar

from etils import epath

from data.errors import PreparationError, Unusable
from data.source import Example, Skip, Source, read_file
from data.sources import img2dataset

_CHUNK = 5_000  # rows of an item
_HEADER = {b"caption", b"url", b"image_url", b"file"}


class WebTable(Source):
  """Base: a table of captions and addresses for each split.

  Attributes:
    tables: Patterns of the tables' names, by split.
    by_address: Pictures may be named by the last part of their address.
  """

  per_shard: ClassVar[int] = 1
  tables: ClassVar[dict[str, tuple[str, ...]]] = {}
  by_address: ClassVar[bool] = False

  def items(self) -> Iterator[tuple[str, Any]]:
    if not self.root.is_dir():
      raise PreparationError(f"--source {self.root} is not a directory")
    found = img2dataset.list_items(self.root)
    first = next(found, None)
    if first is not None:
      yield first
      yield from found
      return
    yield from self.table_items()

  def table_items(self) -> Iterator[tuple[str, Any]]:
    """Ranges of lines of the published tables, one of each split."""
    chosen = {split: self._table(split) for split in self.tables}
    if not any(chosen.values()):
      raise self.nothing_found()
    for split, path in chosen.items():
      for item in _ranges(path) if path else ():
        yield split, {"file": path.name, **item}

  def _table(self, split: str) -> epath.Path | None:
    """The table of a split; None where there is none.

    Raises:
      PreparationError: There are several. Rows name pictures and records by
        their number, and whether whoever fetched the pictures began anew with
        each table cannot be told.
    """
    patterns = self.tables[split]
    # By name, for two patterns may match one file.
    found = {p.name: p for pattern in patterns for p in self.root.glob(pattern)}
    if len(found) > 1:
      raise PreparationError(
        f"--source {self.root} holds {', '.join(sorted(found))}, all tables of "
        f"{split!r}, and a picture is named by its row in the table: keep one, "
        "or join them in the order in which their pictures are numbered"
      )
    return next(iter(found.values()), None)

  def nothing_found(self) -> PreparationError:
    """Says what was looked for."""
    wanted = ", ".join(itertools.chain(*self.tables.values()))
    return PreparationError(
      f"--source {self.root} holds neither img2dataset's shards (00000.tar, "
      f"00000.parquet, 00000/) nor a table ({wanted})"
    )

  def read(self, split: str, item: Any) -> Iterator[Example | Skip]:
    if "kind" in item:
      yield from img2dataset.read_item(self.root, split, item)
      return
    for number, row in self._rows(item):
      yield self._example(split, number, row)

  def _rows(self, item: Any) -> Iterator[tuple[int, list]]:
    if "rows" in item:
      yield from enumerate(item["rows"], item["first"])
      return
    with (self.root / item["file"]).open("rb") as file:
      file.seek(item["start"])
      data = file.read(item["stop"] - item["start"])
    lines = data.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, item["first"]):
      row = line.rstrip(b"\r").split(b"\t")
      if number == 0 and {field.lower() for field in row} <= _HEADER:
        continue
      yield number, row

  def _example(self, split: str, number: int, row: list) -> Example | Skip:
    name = f"{split}/{number:09d}"
    fields = [
      field.decode("utf-8", "surrogateescape")
      if isinstance(field, bytes)
      else field
      for field in row
    ]
    addresses = [_is_address(field) for field in fields[:2]]
    if len(fields) < 2 or not any(addresses):
      return Skip("row without an address", name)
    place = addresses.index(True)
    address, caption = fields[place], fields[1 - place]
    try:
      image = self._read_picture(split, number, address, fields[2:3])
    except Unusable as error:
      return Skip(str(error), name)
    return Example(name, image, [caption])

  def _read_picture(
    self, split: str, number: int, address: str, given: list[str]
  ) -> bytes:
    if given and given[0]:
      return read_file(self.root, given[0], ("", "images"))
    check = zlib.crc32(address.encode("utf-8", "surrogateescape"))
    names = [f"{number:09d}.jpg", f"{number}_{check}"]
    if self.by_address:
      names.append(address.rpartition("/")[2])
    long = {"train": "training", "val": "validation"}.get(split, split)
    folders = ("images", f"images/{split}", long)
    for name in names:
      try:
        return read_file(self.root, name, folders)
      except Unusable:
        continue
    raise Unusable("image missing")

  def label(self, item: Any) -> str:
    return f"{item['file']}, from {item.get('first', 0)}"


class Cc3m(WebTable):
  """Conceptual Captions."""

  tables: ClassVar = {
    "train": ("Train*.tsv", "train*.tsv"),
    "val": ("Validation*.tsv", "val*.tsv"),
  }


class Cc12m(WebTable):
  """Conceptual 12M."""

  tables: ClassVar = {"train": ("cc12m*.tsv",)}


class Sbu(WebTable):
  """SBU Captions: one JSON, or two text files with a line per picture."""

  by_address: ClassVar[bool] = True
  tables: ClassVar = {
    "train": (
      "sbu-captions-all.json",
      "SBU_captioned_photo_dataset_urls.txt",
      "SBU_captioned_photo_dataset_captions.txt",
    )
  }

  def table_items(self) -> Iterator[tuple[str, Any]]:
    whole, urls, captions = (self.root / name for name in self.tables["train"])
    if whole.is_file():
      path, rows = whole, _read_sbu(whole)
    elif urls.is_file() and captions.is_file():
      path = urls
      columns = [_lines(urls), _lines(captions)]
      if len(columns[0]) != len(columns[1]):
        raise PreparationError(
          f"{urls} has {len(columns[0]):,} lines, {captions.name} "
          f"{len(columns[1]):,}: they must belong together line by line"
        )
      rows = zip(*columns)
    else:
      raise self.nothing_found()
    for first in itertools.count(0, _CHUNK):
      chunk = list(itertools.islice(rows, _CHUNK))
      if not chunk:
        return
      yield "train", {"file": path.name, "first": first, "rows": chunk}


def _is_address(field: Any) -> bool:
  return isinstance(field, str) and field.startswith(("http://", "https://"))


def _ranges(path: epath.Path) -> Iterator[dict[str, int]]:
  """Bytes and first row of every few thousand lines."""
  start = place = rows = first = 0
  with path.open("rb") as file:
    for line in file:
      place += len(line)
      rows += 1
      if rows == _CHUNK:
        yield {"start": start, "stop": place, "first": first}
        start, first, rows = place, first + rows, 0
  if rows:
    yield {"start": start, "stop": place, "first": first}


def _lines(path: epath.Path) -> list[str]:
  text = path.read_bytes().decode("utf-8", "surrogateescape")
  return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _read_sbu(path: epath.Path) -> Iterator[tuple[Any, Any]]:
  try:
    table = json.loads(path.read_bytes().decode("utf-8", "replace"))
    urls, captions = table["image_urls"], table["captions"]
    if len(urls) != len(captions):
      raise ValueError(f"{len(urls)} addresses, {len(captions)} captions")
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    raise PreparationError(
      f"{path} is not SBU's: {type(error).__name__} {error}"
    ) from error
  return zip(urls, captions)
