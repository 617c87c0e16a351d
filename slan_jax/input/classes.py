"""The classes of a data set for detection."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.source import EvaluationSource, texts

CATEGORIES = "categories.json"


class Classes(NamedTuple):
  """The classes of a data set.

  Attributes:
    names: Of each, as the objects are labelled.
    ids: Number of each in result files; COCO's have gaps.
  """

  names: tuple[str, ...]
  ids: tuple[int, ...]


def read_classes(directory: str | Path, split: str = "train") -> Classes:
  """The classes of a prepared directory.

  Args:
    directory: With `categories.json`, or else with labelled objects.
    split: Whose labels are the classes where there is no such file.

  Returns:
    The classes in the order of the file; labels by name, numbered from 1.

  Raises:
    InputError: The file is none, a name or number stands twice, or there are
      no objects.
  """
  path = Path(directory) / CATEGORIES
  if not path.is_file():
    source = EvaluationSource(directory, split)
    found = {name for n in range(len(source)) for name in _labels(source, n)}
    if not found:
      raise InputError(
        f"{directory}: no object of split {split!r} has a label, and there is "
        f"no {CATEGORIES}; data/README.md says which data sets have objects"
      )
    return Classes(tuple(sorted(found)), tuple(range(1, len(found) + 1)))
  try:
    rows = json.loads(path.read_text("utf-8"))
    names = tuple(str(row["name"]) for row in rows)
    ids = tuple(int(row["id"]) for row in rows)
  except (OSError, ValueError, TypeError, KeyError) as error:
    raise InputError(
      f"{path}: expected a list of objects with id and name ({error!r})"
    ) from error
  for what, values in (("name", names), ("id", ids)):
    twice = [value for value, n in Counter(values).items() if n > 1]
    if twice:
      raise InputError(f"{path}: {what} {twice[0]!r} stands twice; rename one")
  return Classes(names, ids)


def chosen_classes(
  names: Sequence[str], directory: str | Path, split: str = "train"
) -> Classes:
  """Classes of given names, numbered as the data numbers them.

  Args:
    names: Of the classes, in any order.
    directory: A prepared directory, as for `read_classes`; it may have no
      class at all.
    split: As for `read_classes`.

  Returns:
    The classes in this order; those that the data does not know are numbered
    on from its largest number.

  Raises:
    InputError: Its `categories.json` is none.
  """
  known: dict[str, int] = {}
  try:
    known = dict(zip(*read_classes(directory, split)))
  except InputError:
    if (Path(directory) / CATEGORIES).exists():
      raise
  free = itertools.count(1 + max([0, *known.values()]))
  ids = (known[name] if name in known else next(free) for name in names)
  return Classes(tuple(names), tuple(ids))


def _labels(source: EvaluationSource, number: int) -> list[str]:
  """The labels of a record, without the rest of it: there may be many."""
  try:
    return texts(source.features(number), "objects/label")
  except (BadRecord, UnicodeDecodeError):
    return []
