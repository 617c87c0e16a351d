"""What the tool img2dataset leaves, in each of its layouts.

    webdataset  00000.tar with 000000000.{jpg,txt,json}; 00000.parquet beside it
    files       00000/000000000.{jpg,txt,json}
    parquet     00000.parquet with the picture in a column

below the source directory or below train/, val/ or validation/, test/ in it.
"""

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq
from etils import epath

from data.source import Example, Skip
from data.sources.archive import Sample, read_samples

_PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
_ROWS = 256  # of a parquet file, read at a time


def list_items(root: epath.Path) -> Iterator[tuple[str, dict[str, Any]]]:
  """Rows of (split, item) for all shards; none where it is another layout."""
  folders = [name for name in _SPLITS if (root / name).is_dir()]
  if not folders:
    yield from (("train", item) for item in _list_folder(root, ""))
  for name in folders:
    for item in _list_folder(root / name, f"{name}/"):
      yield _SPLITS[name], item


def _list_folder(folder: epath.Path, prefix: str) -> Iterator[dict[str, Any]]:
  paths = {path.name: path for path in folder.iterdir()}
  for name, path in sorted(paths.items()):
    stem, _, ending = name.rpartition(".")
    item = {"file": prefix + name}
    if ending == "tar":
      beside = f"{stem}.parquet"
      # The size, so that a shard is made anew when its archive changed.
      yield {
        **item,
        "kind": "tar",
        "bytes": path.stat().length,
        "table": prefix + beside if beside in paths else None,
      }
    elif (
      ending == "parquet" and stem not in paths and f"{stem}.tar" not in (paths)
    ):
      yield {**item, "kind": "parquet", "bytes": path.stat().length}
    elif name.isdigit() and path.is_dir():
      table = f"{name}.parquet"
      yield {
        **item,
        "kind": "files",
        "table": prefix + table if table in paths else None,
      }


def read_item(
  root: epath.Path, split: str, item: Mapping[str, Any]
) -> Iterator[Example | Skip]:
  """Records of one shard, and its pictures that were never downloaded."""
  path = root / item["file"]
  start = f"{split}/{path.stem}/"
  if item["kind"] == "parquet":
    with path.open("rb") as file:
      yield from read_parquet(file, item["file"], start)
    return
  if item["kind"] == "files":
    samples = _read_folder(path)
    for sample in samples:
      yield sample_example(start, sample)
  else:
    with path.open("rb") as file:
      for sample in read_samples(file, item["file"]):
        yield (
          sample if isinstance(sample, Skip) else sample_example(start, sample)
        )
  if item["table"]:
    with (root / item["table"]).open("rb") as file:
      yield from _not_downloaded(file, item["table"], start)


def _read_folder(folder: epath.Path) -> Iterator[Sample]:
  names: dict[str, dict[str, epath.Path]] = {}
  for path in sorted(folder.iterdir(), key=lambda path: path.name):
    stem, _, ending = path.name.partition(".")
    names.setdefault(stem, {})[ending.lower()] = path
  for key, paths in names.items():
    files = {}
    for ending, path in paths.items():
      # A folder among the files, or a file that cannot be read, is none.
      with contextlib.suppress(OSError):
        files[ending] = path.read_bytes()
    yield Sample(key, files)


def sample_example(start: str, sample: Sample) -> Example | Skip:
  """The record of a picture with its caption beside it.

  Args:
    start: Before the key of the sample.
    sample: Its files.
  """
  name = start + sample.key
  image = next(
    (sample.files[end] for end in _PICTURES if end in sample.files), None
  )
  if image is None:
    return Skip("image missing", name)
  caption: Any = sample.files.get("txt")
  if caption is None:
    try:
      caption = json.loads(sample.files["json"])["caption"]
    except (KeyError, ValueError, TypeError, RecursionError):
      return Skip("no caption", name)
  return Example(name, image, [caption])


def read_parquet(
  file: io.BufferedIOBase, name: str, start: str
) -> Iterator[Example | Skip]:
  """Records of a table that has the pictures in a column.

  Args:
    file: The table.
    name: What the report calls it.
    start: Before the key of each record.

  Yields:
    A record per row; one `parquet cut short` for the rest of a row group that
    cannot be read.
  """
  for row in _rows(file, name, (*_PICTURES, "caption", "key", "status")):
    if isinstance(row, Skip):
      yield row
      continue
    number, values = row
    key = values.get("key")
    key = start + (str(key) if key is not None else f"row {number}")
    image = next((values[end] for end in _PICTURES if values.get(end)), None)
    if isinstance(image, bytes):
      yield Example(key, image, [values.get("caption")])
    elif values.get("status") not in (None, "success"):
      yield Skip("not downloaded", key)
    else:
      yield Skip("image missing", key)


def _not_downloaded(
  file: io.BufferedIOBase, name: str, start: str
) -> Iterator[Skip]:
  """Rows of the table beside an archive that are not in it."""
  for row in _rows(file, name, ("key", "status")):
    if isinstance(row, Skip):
      yield row
    elif row[1].get("status") not in (None, "success"):
      yield Skip("not downloaded", f"{start}{row[1].get('key')}")


def _rows(
  file: io.BufferedIOBase, name: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, Any]] | Skip]:
  try:
    table = pq.ParquetFile(file)
    groups, told = table.num_row_groups, table.metadata.num_rows
    present = [c for c in columns if c in table.schema_arrow.names]
  except Exception:  # pyarrow raises many kinds on damaged files
    yield Skip("parquet unreadable", name)
    return
  number = 0
  for group in range(groups):
    batches = table.iter_batches(_ROWS, row_groups=[group], columns=present)
    try:
      for batch in batches:
        for values in batch.to_pylist():
          yield number, values
          number += 1
    except Exception:
      yield Skip("parquet cut short", f"{name}, row {number}")
      told = number  # it was said
  if number < told:  # of a footer that has lost some of its groups
    yield Skip("parquet cut short", f"{name}, row {number}")
