"""Reader of NLVR2: statements about pairs of pictures, true or false.

train.json  dev.json  test1.json   (one JSON object a line)
images/train/DIRECTORY/*.png  images/dev/*.png  images/test1/*.png
"""

import json
from typing import Any

from etils import epath

from data.errors import PreparationError
from data.listing import Listing, plain, read_lines
from data.row import Problem, Row, StatementRow
from data.row_source import RowSource

# Names of the official files, and of ours.
_SPLITS = {"train": "train", "dev": "val", "test1": "test"}
_LABELS = {"True": True, "False": False, True: True, False: False}


class Nlvr2(RowSource):
  """Statements about pairs of pictures."""

  per_shard = 1_000  # of two pictures each

  def read_listing(self) -> Listing:
    return read_nlvr2(self.root)


def read_nlvr2(root: epath.Path) -> Listing:
  """Reads the official files that are there.

  Args:
    root: Directory of the files, at the top or in data/.

  Returns:
    `train`, `val` (dev) and `test` (test1, "test-P"): one row per statement
    with its left and right picture. A statement's group is the sentence, told
    of up to four pairs: consistency wants all of them right.

  Raises:
    PreparationError: There is none of the files.
  """
  problems: list[Problem] = []
  splits: dict[str, list[Row]] = {}
  for name, split in _SPLITS.items():
    files = [root / f"{name}.json", root / "data" / f"{name}.json"]
    path = next((file for file in files if file.is_file()), None)
    if path:
      splits[split] = _rows(path, name, problems)
  if not splits:
    raise PreparationError(
      f"--source {root} holds none of train.json, dev.json and test1.json "
      "of NLVR2, neither there nor in data/"
    )
  return Listing(splits, ("statements", "more_images"), problems)


def _rows(
  path: epath.Path, official: str, problems: list[Problem]
) -> list[Row]:
  rows = []
  for number, line in enumerate(read_lines(path, problems), 1):
    if not line.strip():
      continue
    where = f"{path.name}:{number}"
    try:
      entry = json.loads(line)
      name, text = entry["identifier"], plain(entry["sentence"])
      label = _LABELS[entry["label"]]
      _, group, pair, sentence = name.rsplit("-", 3)
    except (
      *(ValueError, KeyError, TypeError),
      *(AttributeError, RecursionError),
    ):
      problems.append(("line is not an example of NLVR2", where))
      continue
    if not text:
      problems.append(("statement without text", where))
      continue
    folder = f"images/{official}"
    start = f"{official}-{group}-{pair}"
    rows.append(
      Row(
        name=name,
        images=(f"{start}-img0.png", f"{start}-img1.png"),
        folders=(
          *_directory(folder, entry.get("directory")),
          folder,
          official,
          "images",
        ),
        statements=(
          StatementRow(text, label, f"{official}-{group}-{sentence}"),
        ),
        needs=("statements",),
      )
    )
  return rows


def _directory(folder: str, number: Any) -> list[str]:
  """The pictures of train lie in numbered directories."""
  return [f"{folder}/{number}"] if isinstance(number, int) else []
