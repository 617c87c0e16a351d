"""Shows what was prepared: `python -m data.inspect DIR --output page.html`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from data.errors import PreparationError
from data.page import draw_histogram, write_page
from data.samples import is_prepared, open_prepared, plain_record
from data.source import at_least

USAGE_ERROR = 2
_MEASURED = 5_000  # records of a split behind the histograms


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command line and returns its exit code."""
  parser = argparse.ArgumentParser(
    prog="python -m data.inspect",
    description="Writes a page with samples of a prepared directory.",
  )
  parser.add_argument("directory", type=epath.Path)
  parser.add_argument("--output", type=Path, default=Path("page.html"))
  parser.add_argument(
    "--samples", type=at_least(1), default=24, help="of each split"
  )
  options = parser.parse_args(arguments)
  try:
    page = inspect(options.directory, options.samples)
    _write(options.output, page)
  except (PreparationError, OSError) as error:
    print(f"data.inspect: {error}", file=sys.stderr)
    return USAGE_ERROR
  print(f"{options.output} written: open it in a browser")
  return 0


def inspect(directory: epath.Path, samples: int) -> str:
  """The page.

  Args:
    directory: A prepared directory.
    samples: Records of each split to show, evenly spread.

  Raises:
    PreparationError: It is not a prepared directory, or damaged.
  """
  if not is_prepared(directory):
    raise PreparationError(
      f"{directory} is not a prepared directory (no dataset_info.json); make "
      "it with `python -m data.prepare NAME --out DIR`"
    )
  words: list[int] = []
  sizes: list[tuple[int, int]] = []
  shown, totals = {}, {}
  for split, records in open_prepared(directory).items():
    totals[split] = len(records)
    shown[split] = [_read(records, n) for n in _spread(len(records), samples)]
    for number in _spread(len(records), _MEASURED):
      record = _read(records, number)
      words += [len(text.split()) for text in record["captions"]]
      sizes.append((int(record["width"]), int(record["height"])))
  width, height = np.transpose(sizes)
  plots = [
    draw_histogram(words, "Length of captions", "words"),
    draw_histogram(
      np.sqrt(width * height), "Size of pictures", "√(w·h), pixels"
    ),
    draw_histogram(width / height, "Shape of pictures", "width / height"),
  ]
  return write_page(directory.name, shown, plots[not words :], totals)


def _spread(total: int, count: int) -> list[int]:
  """At most `count` numbers, evenly spread from 0 to total - 1."""
  return sorted(set(np.linspace(0, total - 1, min(total, count), dtype=int)))


def _read(records: Any, number: int) -> dict[str, Any]:
  try:
    return plain_record(records[int(number)])
  except Exception as error:  # a checksum that fails
    raise PreparationError(f"record {number} is unreadable: {error}") from error


def _write(path: Path, text: str) -> None:
  """Writes a file whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
    made = Path(folder) / path.name
    made.write_text(text, "utf-8")
    os.replace(made, path)


if __name__ == "__main__":
  sys.exit(main())
