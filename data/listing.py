"""What a reader of annotation files returns: rows by split, and the rest."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from etils import epath

from data.errors import PreparationError
from data.row import Problem, Row


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


def read_json(
  path: epath.Path, wanted: dict[str, tuple[str, ...]]
) -> dict[str, Any]:
  """Reads an annotation file.

  Args:
    path: A JSON file.
    wanted: Names of lists and the keys that each of their entries must have.

  Returns:
    Its content.

  Raises:
    PreparationError: It is missing, not JSON, or lacks something.
  """
  try:
    table = json.loads(path.read_bytes().decode("utf-8"))
  except (OSError, ValueError) as error:
    raise PreparationError(f"{path} cannot be read: {error}") from error
  for name, keys in wanted.items():
    rows = table.get(name) if isinstance(table, dict) else None
    if not isinstance(rows, list):
      raise PreparationError(f"{path} has no list {name!r}")
    for number, row in enumerate(rows):
      missing = [k for k in keys if not isinstance(row, dict) or k not in row]
      if missing:
        raise PreparationError(
          f"{path}: entry {number} of {name!r} lacks {', '.join(missing)}"
        )
  return table


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


def read_lines(path: epath.Path) -> list[str]:
  """Lines of a text file, without a byte order mark.

  Raises:
    PreparationError: It is missing or not UTF-8.
  """
  try:
    # Not splitlines: a caption may hold a Unicode line separator.
    return path.read_bytes().decode("utf-8-sig").split("\n")
  except (OSError, ValueError) as error:
    raise PreparationError(f"{path} cannot be read: {error}") from error


def plain(text: Any) -> str:
  """A text with single spaces; "" for what is not a text."""
  return " ".join(text.split()) if isinstance(text, str) else ""
