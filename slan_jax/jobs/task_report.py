"""`slan-tasks --runs DIR --output PAGE.html`: all tasks on one page."""

import argparse
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
    _parser(), lambda a: report(a.runs, a.output, scratch=a.scratch)
  )


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "slan-tasks", description="Scores and cases of all tasks on one page."
  )
  add = parser.add_argument
  add("--runs", type=Path, required=True, help="directory of work directories")
  add("--scratch", type=Path, help="the same, learned without pre-training")
  add("--output", type=Path, required=True, help="page to write, .html")
  add("--debug", action="store_true", help="show where an error comes from")
  return parser


def report(runs: Path, output: Path, *, scratch: Path | None = None) -> int:
  """Prints the table of all evaluations below a directory, and writes the page.

  Args:
    runs: holds RUN/eval/TASK/metrics.json.
    output: the page.
    scratch: holds the same runs without pre-training; None = there are none.

  Returns:
    Exit code 0.

  Raises:
    ValueError: nothing was scored there, or a file is damaged.
  """
  if output.suffix != ".html":
    raise ValueError(f"--output={output}: expected a name that ends in .html")
  found = sorted(runs.glob(f"*/eval/*/{METRICS}"))
  if not found:
    raise ValueError(
      f"{runs}: no RUN/eval/TASK/{METRICS} below it; score runs first "
      "(slan-eval)"
    )
  entries = [_entry(path, runs, scratch) for path in found]
  write_atomically(output, write_page("Downstream tasks", entries).encode())
  Console().print(closing_table([entry.report for entry in entries]))
  print(output)
  return 0


def _entry(path: Path, runs: Path, scratch: Path | None) -> Entry:
  beside = scratch / path.relative_to(runs) if scratch else None
  if beside is not None and not beside.is_file():
    beside = None
  run = path.relative_to(runs).parts[0]
  return read_entry(
    path.parent, run=run, scratch=beside.parent if beside else None
  )


if __name__ == "__main__":
  main()
