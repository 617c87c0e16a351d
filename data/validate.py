"""Checks data before hours are spent on it: `python -m data.validate PATH`.

PATH is a manifest, a table, a folder of pictures with texts, a directory of a
data set's official files, or a prepared directory. Every picture is opened.
"""

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence

from etils import epath
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.catalog import CATALOG
from data.errors import PreparationError
from data.findings import ERROR, Counts, Findings
from data.samples import (
  Sample,
  is_prepared,
  prepared_samples,
  source_of,
  source_samples,
)

USAGE_ERROR = 2
_COLOURS = {ERROR: "red"}


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Returns:
    0 when nothing is lost, 2 when something is left out, damaged or unusable.
  """
  parser = argparse.ArgumentParser(
    prog="python -m data.validate", description=__doc__.partition("\n")[0]
  )
  parser.add_argument("path", type=epath.Path)
  parser.add_argument(
    "--name",
    choices=[name for name, entry in CATALOG.items() if not entry.drawn],
    help="the data set whose files PATH holds; default: told by the files",
  )
  options = parser.parse_args(arguments)
  try:
    findings = validate(options.path, options.name)
  except PreparationError as error:
    print(f"data.validate: {error}", file=sys.stderr)
    return USAGE_ERROR
  return show(findings, Console())


def validate(path: epath.Path, name: str | None = None) -> Findings:
  """Looks at every record.

  Args:
    path: A source or a prepared directory.
    name: Key of CATALOG; None tells by the files.

  Returns:
    What was found.

  Raises:
    PreparationError: It cannot be opened at all.
  """
  if is_prepared(path):
    samples = prepared_samples(path)
  else:
    samples = source_samples(source_of(path, name))
  return look_at(samples)


def look_at(samples: Iterable[Sample]) -> Findings:
  """Findings of samples."""
  from tqdm import tqdm

  findings = Findings()
  for split, name, record, notes in tqdm(samples, unit=" records", leave=False):
    if record is None:
      findings.add(ERROR, f"left out: {notes[0]}", name)
    else:
      findings.look(split, record, notes)
  return findings


def show(findings: Findings, console: Console) -> int:
  """Prints two tables: what there is, and what was found.

  Returns:
    The exit code.
  """
  counts = Table(title="What there is")
  held = [
    what
    for what in ("captions", "phrases", "boxes", "questions", "statements")
    if any(split.held[what] for split in findings.splits.values())
  ]
  head = ["split", "records", *held, "words a caption", "smallest", "largest"]
  for name in head:
    counts.add_column(name, justify="left" if name == "split" else "right")
  for split, held_there in findings.splits.items():
    counts.add_row(split, *_cells(held_there, ["records", *held]))
  console.print(counts)
  rows = findings.table()
  if not findings.splits:
    console.print("[red]No usable record.")
  if not rows:
    console.print("Nothing stands out.")
    return 0 if findings.splits else USAGE_ERROR
  table = Table("", "what", title="What stands out")
  table.add_column("times", justify="right")
  table.add_column("first", overflow="fold")
  for level, what, count, first in rows:
    mark = f"[{_COLOURS.get(level, 'yellow')}]{level}"
    table.add_row(mark, escape(what), f"{count:,}", escape(", ".join(first)))
  console.print(table)
  lost = any(row.level == ERROR for row in rows)
  return USAGE_ERROR if lost or not findings.splits else 0


def _cells(counts: Counts, held: list[str]) -> list[str]:
  """Numbers, middle and longest length of captions, sizes of pictures."""
  words = "-"
  if counts.words:
    words = f"{statistics.median(counts.words):g}, at most {max(counts.words)}"
  by_area = sorted(counts.sizes, key=lambda size: size[0] * size[1])
  sizes = [f"{width}x{height}" for width, height in (by_area[0], by_area[-1])]
  return [*(f"{counts.held[what]:,}" for what in held), words, *sizes]


if __name__ == "__main__":
  sys.exit(main())
