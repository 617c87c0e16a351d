"""One page of HTML on all tasks: scores, tables by kind, cases, curves."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slan_jax.evaluation import case_gallery
from slan_jax.evaluation.cases import Case, read_cases
from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.report import SKIPPED, read_report
from slan_jax.evaluation.table import ROWS, Scored, kinds

METRICS = "metrics.json"
CURVES = "curves.json"
_CURVE = 260, 200  # width and height in pixels
_LINE = "#1c7ed6"
_COLUMNS = {
  "model": "model",
  "scratch": "without pre-training",
  "untrained": "at the start",
  "chance": "chance",
}
OPEN_ROWS = 20  # a longer table of classes is folded
_STYLE = """
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 1180px; }
table { border-spacing: 0; margin: 1em 0; }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
details table { font-size: 13px; } .protocol, .name { color: #555; }
.curves { display: flex; flex-wrap: wrap; gap: 1.5em; }
.curves svg { border: 1px solid #ccc; }
.curves div { width: 260px; font-size: 13px; }
"""


class Curve(NamedTuple):
  """Precision over recall.

  Attributes:
    name: its title.
    x, y: recall and precision, in [0, 1].
  """

  name: str
  x: Sequence[float]
  y: Sequence[float]


class Entry(NamedTuple):
  """What is told of one task.

  Attributes:
    scored: its evaluation.
    cases: best and worst ones, of the first seed.
    curves: precision over recall, likewise.
  """

  scored: Scored
  cases: Sequence[Case] = ()
  curves: Sequence[Curve] = ()


def read_entry(
  directory: Path,
  *others: Path,
  run: str = "",
  scratch: Sequence[Path] = (),
) -> Entry:
  """What lies in a directory of `slan-eval`.

  Args:
    directory: holds metrics.json.
    *others: the same of further seeds.
    run: name of the run.
    scratch: the same of runs without pre-training.

  Raises:
    ValueError: a file is damaged; names it.
    FileNotFoundError: there is no metrics.json.
  """
  reports, without = (
    [read_report(place / METRICS) for place in places]
    for places in ((directory, *others), scratch)
  )
  return Entry(
    Scored(reports, run, without),
    read_cases(directory),
    read_curves(directory),
  )


def write_page(title: str, entries: Sequence[Entry]) -> str:
  """The page.

  Args:
    title: its head line.
    entries: one per task.

  Returns:
    HTML that needs no other file.
  """
  summary = "".join(_summary_row(n, entry) for n, entry in enumerate(entries))
  sections = "".join(_section(n, entry) for n, entry in enumerate(entries))
  return (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    f"<title>{_text(title)}</title><style>{_STYLE}{case_gallery.STYLE}</style>"
    f"</head><body><h1>{_text(title)}</h1>"
    f"<table><tr><th>task</th><th>metric</th>{_heads()}</tr>{summary}</table>"
    f"{sections}</body></html>\n"
  )


def save_curves(directory: Path, curves: Sequence[Curve]) -> None:
  """Keeps curves beside metrics.json."""
  rows = [
    {"name": c.name, "x": [*map(float, c.x)], "y": [*map(float, c.y)]}
    for c in curves
  ]
  write_atomically(directory / CURVES, json.dumps(rows).encode())


def read_curves(directory: Path) -> list[Curve]:
  """The curves of a directory; [] where none were kept.

  Raises:
    ValueError: the file is damaged; names it.
  """
  path = directory / CURVES
  if not path.is_file():
    return []
  try:
    return [Curve(**row) for row in json.loads(path.read_text())]
  except (ValueError, TypeError) as error:
    raise ValueError(
      f"{path} is damaged ({error}); score again with --force"
    ) from error


def headline(report: Mapping[str, Any]) -> str:
  """Name of the metric that stands for a report: the first of its rows."""
  rows = ROWS.get(report["task"], report["metrics"])
  return next((name for name in rows if name in report["metrics"]), "")


def _heads() -> str:
  return "".join(f"<th>{name}</th>" for name in _COLUMNS.values())


def _values(entry: Entry, metric: str) -> str:
  cells = entry.scored.values(metric)
  return "".join(f"<td>{cells[name]}</td>" for name in _COLUMNS)


def _summary_row(number: int, entry: Entry) -> str:
  report, title = entry.scored.report, _text(entry.scored.title)
  metric = headline(report)
  return (
    f'<tr><td><a href="#task{number}">{title}</a></td>'
    f"<td>{_label(report, metric)}</td>{_values(entry, metric)}</tr>"
  )


def _label(report: Mapping[str, Any], metric: str) -> str:
  return _text(ROWS.get(report["task"], {}).get(metric, metric).strip())


def _section(number: int, entry: Entry) -> str:
  report, seeds = entry.scored.report, entry.scored.seeds
  heading, of_kinds = kinds(report)
  names = [n for n in report["metrics"] if n not in of_kinds]
  listed = ROWS.get(report["task"], {})
  labels = {n: _label(report, n) for n in listed if n in names}
  rest = {name: _text(name) for name in names if name not in labels}
  samples = ", ".join(
    f"{count:,} {_text(name.replace('_', ' '))}"
    for name, count in report["samples"].items()
    if count and not name.startswith(SKIPPED)
  )
  return (
    f'<h2 id="task{number}">{_text(entry.scored.title)}</h2>'
    f'<p class="protocol">{_text(report["protocol"])}</p>'
    f'<p class="name">{samples}; score: {_text(report["score"])}; step '
    f"{report['checkpoint_step']}{seeds and f'; {seeds}'}</p>"
    f"{_skipped(report['samples'])}"
    f"{_table(entry, '', labels)}"
    f"{_kinds_table(entry, heading, of_kinds)}"
    f"{_folded(f'{len(rest)} further metrics', _table(entry, '', rest))}"
    f"{_curves(entry.curves)}{case_gallery.gallery(entry.cases)}"
  )


def _skipped(samples: Mapping[str, int]) -> str:
  """A line on what was left out; "" where nothing was."""
  told = ", ".join(
    f"{count:,} x {_text(name.removeprefix(SKIPPED).replace('_', ' '))}"
    for name, count in samples.items()
    if name.startswith(SKIPPED)
  )
  return told and f'<p class="name">left out: {told}</p>'


def _table(entry: Entry, heading: str, labels: Mapping[str, str]) -> str:
  """Rows of metrics; labels are HTML."""
  if not labels:
    return ""
  rows = "".join(
    f"<tr><td>{label}</td>{_values(entry, name)}</tr>"
    for name, label in labels.items()
  )
  return f"<table><tr><th>{heading}</th>{_heads()}</tr>{rows}</table>"


def _kinds_table(entry: Entry, heading: str, found: Mapping[str, str]) -> str:
  """One row per class or kind; a long table is folded."""
  labels = {name: _text(kind) for name, kind in found.items()}
  table = _table(entry, _text(heading), labels)
  if len(found) <= OPEN_ROWS:
    return table
  return _folded(f"{len(found)} classes", table)


def _folded(summary: str, table: str) -> str:
  if not table:
    return ""
  return f"<details><summary>{summary}</summary>{table}</details>"


def _curves(curves: Sequence[Curve]) -> str:
  """Both axes from 0 to 1, the origin below on the left."""
  if not curves:
    return ""
  shown, (width, height) = [], _CURVE
  for curve in curves:
    points = " ".join(
      f"{x * width:.1f},{(1 - y) * height:.1f}"
      for x, y in zip(curve.x, curve.y)
    )
    shown.append(
      f'<div><svg width="{width}" height="{height}"><polyline fill="none" '
      f'stroke-width="2" stroke="{_LINE}" points="{points}"/>'
      f"</svg>{_text(curve.name)}</div>"
    )
  return (
    "<h3>Precision over recall, both from 0 to 1</h3>"
    f'<div class="curves">{"".join(shown)}</div>'
  )


def _text(text: str) -> str:
  return html.escape(str(text))
