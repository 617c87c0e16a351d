"""What a reader of annotation files returns: rows by split, and the rest."""

import codecs
import csv
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from data.errors import PreparationError
from data.row import Problem, Row

# Files are named by it.
_SPLIT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_KINDS = {str: "text", int: "number", list: "list", int | str: "number or text"}


@dataclasses.dataclass(frozen=True)
class Listing:
  """The entries of a source; no picture has been opened.

  Attributes:
    splits: Rows of each split in the order they will be stored.
    parts: Which fields of data/parts.py the records have.
    problems: Entries left out while reading, and where they stand. A second
      entry of the same name is left out later, when records are written.
    files: Texts to store beside the records, by file name.
  """

  splits: dict[str, list[Row]]
  parts: tuple[str, ...] = ()
  problems: list[Problem] = dataclasses.field(default_factory=list)
  files: dict[str, str] = dataclasses.field(default_factory=dict)


def in_order(splits: Iterable[str]) -> list[str]:
  """Names of splits: train, val, test, and then the others by name."""
  first = ("train", "val", "test")
  return sorted(
    splits, key=lambda s: (first.index(s) if s in first else len(first), s)
  )


def is_split(name: Any) -> bool:
  """Whether a name can be that of a split: a short plain word."""
  return isinstance(name, str) and _SPLIT.fullmatch(name) is not None


def read_json(
  path: epath.Path, wanted: dict[str, dict[str, Any]], problems: list[Problem]
) -> dict[str, list[dict[str, Any]]]:
  """Reads an annotation file.

  Args:
    path: A JSON file; broken UTF-8 in it becomes U+FFFD.
    wanted: Names of lists, and the keys that each of their entries must have
      with the type of each value.
    problems: Receives the entries that are none: each costs itself alone.

  Returns:
    The lists, with the entries that are whole.

  Raises:
    PreparationError: It is missing or not JSON, or lacks a list, or no entry
      of one is whole.
  """
  try:
    table = json.loads(path.read_bytes().decode("utf-8", "replace"))
  except (OSError, ValueError, RecursionError) as error:
    raise PreparationError(f"{path} cannot be read: {error}") from error
  found = {}
  for name, kinds in wanted.items():
    rows = table.get(name) if isinstance(table, dict) else None
    if not isinstance(rows, list):
      raise PreparationError(f"{path} has no list {name!r}")
    found[name], first = [], None
    for number, row in enumerate(rows):
      missing = _missing(row, kinds)
      if not missing:
        found[name].append(row)
        continue
      first = first or f"{path}: entry {number} of {name!r} lacks {missing}"
      reason = f"entry of {name!r} lacks {missing}"
      problems.append((reason, f"{path.name}: {name} {number}"))
    if first and not found[name]:
      raise PreparationError(first)
  return found


def _missing(row: Any, kinds: dict[str, Any]) -> str:
  """What an entry lacks; "" when it has all."""
  values = row if isinstance(row, dict) else {}
  return ", ".join(
    f"{key} ({_KINDS[kind]})"
    for key, kind in kinds.items()
    if not isinstance(values.get(key), kind)
    or isinstance(values.get(key), bool)
  )


def first_file(root: epath.Path, names: Iterable[str], what: str) -> epath.Path:
  """The first of several files that exists below a directory.

  Raises:
    PreparationError: None does.
  """
  names = list(names)
  for name in names:
    if (root / name).is_file():
      return root / name
  raise PreparationError(
    f"--source {root} holds no {what}; expected {' or '.join(names)}"
  )


def read_lines(
  path: epath.Path, problems: list[Problem] | None = None
) -> list[str]:
  """Lines of a text file, without a byte order mark.

  Args:
    path: The file.
    problems: Receives the lines that are not UTF-8, which become empty; None
      refuses the file for one.

  Raises:
    PreparationError: It is missing, or not UTF-8.
  """
  try:
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if problems is None:
      # Not splitlines: a caption may hold a Unicode line separator.
      return data.decode("utf-8").split("\n")
  except (OSError, ValueError) as error:
    raise PreparationError(f"{path} cannot be read: {error}") from error
  lines = []
  for number, line in enumerate(data.split(b"\n"), 1):
    try:
      lines.append(line.decode("utf-8"))
    except UnicodeDecodeError:
      lines.append("")
      problems.append(("line is not UTF-8", f"{path.name}:{number}"))
  return lines


def read_table(
  path: epath.Path, problems: list[Problem], delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
  """Rows of a table: number of the last line, and the fields.

  Args:
    path: The file.
    problems: Receives what is no row.
    delimiter: Between fields.

  Raises:
    PreparationError: It is missing.
  """
  lines = read_lines(path, problems)
  rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
  while True:
    try:
      row = next(rows)
    except StopIteration:
      return
    except csv.Error:  # a field over 128 KB: a quote that nothing closes
      where = f"{path.name}:{rows.line_num}"
      problems.append(("line is not a row of a table", where))
      continue
    yield rows.line_num, row


def plain(text: Any) -> str:
  """A text with single spaces; "" for what is not a text."""
  return " ".join(text.split()) if isinstance(text, str) else ""
