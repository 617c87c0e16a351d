"""`slan-tasks --runs DIR,DIR... --output PAGE.html`: all tasks on one page."""

import argparse
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.table import closing_table
from slan_jax.evaluation.task_report import (
  METRICS,
  Entry,
  read_entry,
  write_page,
)
from slan_jax.jobs import common


def main() -> None:
  """Console script."""
  common.launch_parsed(
    _parser(),
    lambda a: report(
      [*itertools.chain(*a.runs)],
      a.output,
      scratch=[*itertools.chain(*a.scratch)],
    ),
  )


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "slan-tasks", description="Scores and cases of all tasks on one page."
  )
  add = parser.add_argument
  several = {"type": _directories, "action": "append"}
  add(
    "--runs",
    required=True,
    metavar="DIR,DIR...",
    help="directories of work directories, one per seed",
    **several,
  )
  add(
    "--scratch",
    default=[],
    metavar="DIR,DIR...",
    help="the same, learned without pre-training",
    **several,
  )
  add("--output", type=Path, required=True, help="page to write, .html")
  add("--debug", action="store_true", help="show where an error comes from")
  return parser


def _directories(text: str) -> list[Path]:
  return [Path(name) for name in text.split(",") if name]


def report(
  runs: Sequence[Path], output: Path, *, scratch: Sequence[Path] = ()
) -> int:
  """Prints the table of all evaluations below directories, and writes the page.

  Args:
    runs: each holds RUN/eval/TASK/metrics.json, of another seed; the same
      place in several is told as mean and standard deviation.
    output: the page; its cases are those of the first seed.
    scratch: hold the same runs without pre-training, as far as they are done.

  Returns:
    Exit code 0.

  Raises:
    ValueError: nothing was scored in one, one is named twice, or a file is
      damaged.
  """
  if output.suffix != ".html":
    raise ValueError(f"--output={output}: expected a name that ends in .html")
  for flag, given in (("--runs", runs), ("--scratch", scratch)):
    twice = [str(k) for k, n in Counter(map(_resolved, given)).items() if n > 1]
    if twice:
      raise ValueError(f"{flag}: {twice[0]} is named twice: give other seeds")
  if not runs:
    raise ValueError("--runs: expected a directory, or several with commas")
  places = set()
  for root in runs:
    paths = root.glob(f"*/eval/*/{METRICS}")
    found = {path.parent.relative_to(root) for path in paths}
    if not found:
      raise ValueError(
        f"{root}: no RUN/eval/TASK/{METRICS} below it; score runs first "
        "(slan-eval)"
      )
    places |= found
  entries = [_entry(place, runs, scratch) for place in sorted(places)]
  write_atomically(output, write_page("Downstream tasks", entries).encode())
  Console().print(closing_table([entry.scored for entry in entries]))
  print(output)
  return 0


def _entry(place: Path, runs: Sequence[Path], scratch: Sequence[Path]) -> Entry:
  """What lies at RUN/eval/TASK of each directory that has it."""
  held, beside = (
    [root / place for root in roots if (root / place / METRICS).is_file()]
    for roots in (runs, scratch)
  )
  return read_entry(*held, run=place.parts[0], scratch=beside)


def _resolved(directory: Path) -> Path:
  return directory.resolve()


if __name__ == "__main__":
  main()
