"""Variants side by side: mean and spread over seeds, as table and as JSON.

The keys of table.json are a stable contract, see docs/CONTRACTS.md.
"""

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table as Grid

from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.report import read_report

# Metric -> heading; the metrics of docs/CONTRACTS.md that tell variants apart.
COLUMNS = {
  "sum_i2t_r1": "i2t R@1",
  "sum_t2i_r1": "t2i R@1",
  "itc_i2t_r1": "ITC i2t R@1",
  "itc_t2i_r1": "ITC t2i R@1",
  "grounding_r1": "grounding R@1",
  "grounding_r1_small": "small",
  "grounding_r1_level0": "level 0",
  "grounding_r1_level1": "level 1",
  "grounding_r1_level2": "level 2",
  "grounding_r1_level3": "level 3",
  "grounding_r1_random": "random region",
  "grounding_upper": "best region",
  "map_r1": "map's box",
  "pointing": "pointing",
  "counterfactual": "counterfactual",
  "counterfactual_moved": "moved",
  "counterfactual_words": "words",
  "counterfactual_relation": "relation",
  "counterfactual_random": "random pair",
}
# What fits a terminal.
NARROW = ("sum_i2t_r1", "sum_t2i_r1", "grounding_r1", "grounding_r1_random",
          "pointing", "counterfactual")  # fmt: skip
DONE, FAILED, WAITING = "done", "failed", "waiting"


class Run(NamedTuple):
  """One seed of a row.

  Attributes:
    seed: its seed.
    directory: its work directory.
    state: "done", "failed" or "waiting".
    note: why it failed and where its log is; "" otherwise.
    wall_seconds: of all its jobs so far. cpu_seconds: likewise.
  """

  seed: int
  directory: Path
  state: str
  note: str
  wall_seconds: float
  cpu_seconds: float


class Row(NamedTuple):
  """A variant: its name, what it tests in words, and its runs."""

  name: str
  tests: str
  runs: tuple[Run, ...]


class Table(NamedTuple):
  """Variants to be compared."""

  name: str
  title: str
  rows: tuple[Row, ...]


def read_metrics(directory: Path) -> dict[str, float]:
  """The columns' metrics of a finished run.

  Raises:
    ValueError: a damaged metrics.json.
  """
  found: dict[str, float] = {}
  for path in sorted(directory.glob("eval/*/metrics.json")):
    found |= read_report(path)["metrics"]
  return {k: v for k, v in found.items() if k in COLUMNS}


def summarise(row: Row) -> dict[str, Any]:
  """A row as table.json has it, directories as they are given."""
  done = [run for run in row.runs if run.state == DONE]
  metrics = [read_metrics(run.directory) for run in done]
  values = {
    name: [m[name] for m in metrics if name in m]
    for name in COLUMNS
    if any(name in m for m in metrics)
  }
  return {
    "name": row.name,
    "tests": row.tests,
    "n": len(done),
    "mean": {k: statistics.fmean(v) for k, v in values.items()},
    "std": {k: statistics.stdev(v) for k, v in values.items() if len(v) > 1},
    **{
      f"{kind}_seconds": statistics.fmean(
        getattr(run, f"{kind}_seconds") for run in done
      )
      if done
      else 0.0
      for kind in ("wall", "cpu")
    },
    "runs": [run._asdict() for run in row.runs],
  }


def write_tables(
  tables: Sequence[Table], about: dict[str, Any], output: Path
) -> list[dict[str, Any]]:
  """Writes OUTPUT/table.json and OUTPUT/table.md.

  Args:
    tables: what is compared.
    about: JSON values that say how; they stand first in table.json.
    output: directory; paths in both files are relative to it.

  Returns:
    The tables of table.json.
  """
  made = [
    {
      "name": table.name,
      "title": table.title,
      "rows": [summarise(row) for row in table.rows],
    }
    for table in tables
  ]
  for table in made:
    for row in table["rows"]:
      for run in row["runs"]:
        run["directory"] = os.path.relpath(run["directory"], output)
  text = json.dumps({**about, "tables": made}, indent=2, allow_nan=False)
  write_atomically(output / "table.json", (text + "\n").encode())
  write_atomically(output / "table.md", _markdown(made, about).encode())
  return made


def columns(table: dict[str, Any]) -> dict[str, str]:
  """Metric -> heading of the columns that some row of a table fills."""
  found = {name for row in table["rows"] for name in row["mean"]}
  return {name: head for name, head in COLUMNS.items() if name in found}


def cell(row: dict[str, Any], metric: str) -> str:
  """Mean and, of several seeds, the standard deviation; "-" = not measured."""
  if metric not in row["mean"]:
    return "-"
  spread = f" ± {row['std'][metric]:.1f}" if metric in row["std"] else ""
  return f"{row['mean'][metric]:.1f}{spread}"


def state(row: dict[str, Any]) -> str:
  """How many runs of a row are done, failed and still to come."""
  counts = {
    name: sum(run["state"] == name for run in row["runs"])
    for name in (DONE, FAILED, WAITING)
  }
  return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def _times(row: dict[str, Any]) -> list[str]:
  """Minutes of wall and CPU time per run."""
  if not row["n"]:
    return ["-", "-"]
  return [f"{row[f'{kind}_seconds'] / 60:.1f}" for kind in ("wall", "cpu")]


def _markdown(tables: list[dict[str, Any]], about: dict[str, Any]) -> str:
  """The tables with every column, and the failures below them."""
  lines = ["# Variants", ""]
  lines += [f"- {name}: {value}" for name, value in about.items()]
  lines += ["", "Percent, mean ± standard deviation over seeds; minutes a run."]
  for table in tables:
    shown = columns(table)
    lines += ["", f"## {table['title']}", ""]
    head = ["row", "what it tests", "runs", *shown.values(), "wall", "CPU"]
    lines += [_line(head), _line(["---"] * len(head))]
    for row in table["rows"]:
      cells = [cell(row, metric) for metric in shown]
      first = [row["name"], row["tests"], state(row)]
      lines.append(_line([*first, *cells, *_times(row)]))
    notes = [
      f"- {row['name']}, seed {run['seed']}: {run['note']}"
      for row in table["rows"]
      for run in row["runs"]
      if run["note"]
    ]
    lines += ["", *notes] if notes else []
  return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
  return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |"


def terminal_table(table: dict[str, Any]) -> Grid:
  """The columns of `NARROW`, to print with rich."""
  grid = Grid(title=table["title"], caption="percent; minutes a run")
  shown = {k: v for k, v in columns(table).items() if k in NARROW}
  grid.add_column("row", no_wrap=True)
  for heading in ("done", *shown.values(), "wall", "CPU"):
    grid.add_column(heading, justify="right")
  for row in table["rows"]:
    cells = [cell(row, metric) for metric in shown]
    done = f"{row['n']} of {len(row['runs'])}"
    grid.add_row(row["name"], done, *cells, *_times(row))
  return grid
