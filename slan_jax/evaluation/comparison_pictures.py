"""Curves of variants over training, and a page that leads to every run."""

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from slan_jax.evaluation import canvas, comparison
from slan_jax.evaluation.comparison import Row, Table
from slan_jax.evaluation.curves import series
from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.history import EVALUATIONS, TRAINING, load_history

FOLDER = "pictures"
# Name in the records -> where it stands, and heading.
PANELS = {
  "r_mean": (EVALUATIONS, "Retrieval: mean of R@1, 5, 10"),
  "grounding_r1": (EVALUATIONS, "Grounding R@1"),
  "pointing": (EVALUATIONS, "Pointing"),
  "area": (TRAINING, "Area of the kept regions"),
  "pairwise_iou": (TRAINING, "IoU between regions"),
  "spread": (TRAINING, "Spread of their centres"),
}


def draw_tables(
  tables: Sequence[Table], made: Sequence[dict[str, Any]], output: Path
) -> Path:
  """Draws a picture of curves per table, and the page.

  Args:
    tables: what is compared; their directories hold the runs.
    made: the same as `write_tables` returned it.
    output: directory of table.json.

  Returns:
    The page, OUTPUT/index.html.
  """
  parts = [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8"><title>Variants</title>',
    "<style>body{font:16px/1.5 system-ui,sans-serif;color:#212529;"
    "max-width:1400px;margin:2rem auto;padding:0 1rem}img{max-width:100%}"
    "p{color:#495057}td,th{padding:.1rem .8rem .1rem 0;text-align:left}"
    "</style></head><body><h1>Variants</h1>",
    "<p>Percent, mean ± standard deviation over seeds. The curves show the "
    "mean over seeds and, shaded, all of them.</p>",
  ]
  for table, summary in zip(tables, made):
    picture = Path(FOLDER) / f"{table.name}.png"
    parts += [f"<h2>{html.escape(table.title)}</h2>", *_table(summary)]
    if draw_rows(table.rows, output / picture):
      parts.append(f'<img src="{picture}" alt="{html.escape(table.title)}">')
  page = output / "index.html"
  write_atomically(page, "\n".join([*parts, "</body></html>", ""]).encode())
  return page


def draw_rows(rows: Sequence[Row], path: Path) -> bool:
  """Draws the rows' curves over training.

  Args:
    rows: of a table; runs without records are left out.
    path: of the PNG.

  Returns:
    Whether there was anything to draw.
  """
  found = {row.name: _records(row) for row in rows}
  names = [
    name
    for name in PANELS
    if any(means_over_seeds(runs, name)[0].size for runs in found.values())
  ]
  if not names:
    return False
  made = canvas.figure(4.6 * min(len(names), 3), 3.4 * -(-len(names) // 3) + 1)
  grid = made.subplots(-(-len(names) // 3), min(len(names), 3), squeeze=False)
  for axes in grid.flat[len(names) :]:
    axes.axis("off")
  for axes, name in zip(grid.flat, names):
    _panel(axes, found, name)
  handles, labels = grid.flat[0].get_legend_handles_labels()
  made.legend(handles, labels, loc="lower center", ncols=6, fontsize=8,
              frameon=False)  # fmt: skip
  made.tight_layout(rect=(0, 0.09, 1, 1))
  canvas.save(made, path)
  return True


def _records(row: Row) -> list[list[dict[str, Any]]]:
  """The records of each run of a row, both kinds together."""
  return [
    load_history(run.directory / EVALUATIONS)
    + load_history(run.directory / TRAINING)
    for run in row.runs
  ]


def means_over_seeds(
  runs: Sequence[list[dict[str, Any]]], name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Steps, and mean, least and greatest value over the seeds: [n] each."""
  values: dict[float, list[float]] = {}
  for records in runs:
    for step, value in zip(*series(records, name)):
      values.setdefault(step, []).append(value)
  steps = sorted(values)
  found = [
    (s, np.mean(values[s]), min(values[s]), max(values[s])) for s in steps
  ]
  return tuple(np.array(found, float).reshape(-1, 4).T)


def _panel(axes: Axes, found: dict[str, list], name: str) -> None:
  source, title = PANELS[name]
  colours = matplotlib.colormaps["tab20"].colors
  for number, (row, runs) in enumerate(found.items()):
    steps, mean, low, high = means_over_seeds(runs, name)
    colour = colours[number % len(colours)]
    marker = "o" if source == EVALUATIONS else ""
    axes.plot(steps, mean, color=colour, marker=marker, markersize=3,
              linewidth=1.6, label=row)  # fmt: skip
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
  axes.set_title(title, fontsize=10, loc="left", color=canvas.INK,
                 fontweight="bold")  # fmt: skip
  axes.set_xlabel("step", fontsize=8)
  axes.tick_params(labelsize=8)
  axes.grid(color="#E9ECEF", linewidth=0.8)
  axes.spines[["top", "right"]].set_visible(False)


def _table(summary: dict[str, Any]) -> list[str]:
  shown = comparison.columns(summary)
  head = ["row", "what it tests", *shown.values(), "runs"]
  lines = ["<table><tr>", *(f"<th>{html.escape(x)}</th>" for x in head)]
  for row in summary["rows"]:
    cells = [row["name"], row["tests"]]
    cells += [comparison.cell(row, metric) for metric in shown]
    lines.append("</tr><tr>")
    lines += [f"<td>{html.escape(text)}</td>" for text in cells]
    lines.append(f"<td>{' '.join(map(_link, row['runs']))}</td>")
  return [*lines, "</tr></table>"]


def _link(run: dict[str, Any]) -> str:
  """A run's page of pictures; of a failed one, its directory."""
  failed = run["state"] == comparison.FAILED
  end = "" if failed else "pictures/index.html"
  text = f"seed {run['seed']}" + (f" ({run['state']})" if run["note"] else "")
  if run["state"] == comparison.WAITING:
    return html.escape(f"seed {run['seed']} (waiting)")
  path = html.escape(os.path.join(run["directory"], end))
  return f'<a href="{path}">{html.escape(text)}</a>'
