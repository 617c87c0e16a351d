"""Entries of people's own files: JSON lines, a table, a folder with texts."""

import json
from collections.abc import Iterator
from typing import Any

from etils import epath

from data.errors import PreparationError
from data.listing import read_lines, read_table
from data.row import Problem

Entry = tuple[str, dict[str, Any]]  # where it stands, its fields

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_TABLES = {".csv": ",", ".tsv": "\t"}
ENDINGS = (".jsonl", *_TABLES)


def entries(path: epath.Path, problems: list[Problem]) -> Iterator[Entry]:
  """Entries of a file or folder, in order.

  Args:
    path: A file with one of ENDINGS, or a folder.
    problems: Receives what cannot be read, with line numbers.

  Yields:
    Where the entry stands and its fields.

  Raises:
    PreparationError: Nothing of it can be read.
  """
  if path.is_dir():
    yield from _folder(path, problems)
  elif path.suffix.lower() in _TABLES:
    yield from _table(path, problems)
  else:
    yield from _json_lines(path, problems)


def _json_lines(path: epath.Path, problems: list[Problem]) -> Iterator[Entry]:
  for number, line in enumerate(read_lines(path, problems), 1):
    if not line.strip():
      continue
    where = f"{path.name}:{number}"
    try:
      entry = json.loads(line)
    except (ValueError, RecursionError):
      problems.append(("line is not JSON", where))
      continue
    if isinstance(entry, dict):
      yield where, entry
    else:
      problems.append(("line is not a JSON object", where))


def _table(path: epath.Path, problems: list[Problem]) -> Iterator[Entry]:
  """One row is one caption; the columns are told by the first line."""
  rows = read_table(path, problems, _TABLES[path.suffix.lower()])
  _, names = next(rows, (0, []))
  header = [name.strip().lower() for name in names]
  if not {"image", "caption"} <= set(header):
    raise PreparationError(
      f"{path}: the first line names the columns {header}; expected image and "
      "caption, and perhaps split"
    )
  for number, values in rows:
    if not any(value.strip() for value in values):
      continue
    where = f"{path.name}:{number}"
    if len(values) != len(header):
      problems.append((f"line has not {len(header)} columns", where))
      continue
    row = dict(zip(header, values))
    kept = {
      key: row[key] for key in ("image", "caption", "split") if key in row
    }
    yield where, kept


def _folder(path: epath.Path, problems: list[Problem]) -> Iterator[Entry]:
  """Each picture with the text file of its name; one line is one caption."""
  found = (p for p in _files(path) if p.suffix.lower() in PICTURES)
  for picture in sorted(found):
    name = picture.relative_to(path).as_posix()
    texts = picture.with_suffix(".txt")
    if not texts.is_file():
      problems.append(("no text file of the same name", name))
      continue
    try:
      lines = read_lines(texts)
    except PreparationError:
      problems.append(("text file is not UTF-8", name))
      continue
    yield (
      name,
      {
        "image": name,
        "captions": [line for line in lines if line.strip()],
      },
    )


def _files(path: epath.Path) -> Iterator[epath.Path]:
  for entry in path.iterdir():
    if entry.is_dir():
      yield from _files(entry)
    else:
      yield entry
