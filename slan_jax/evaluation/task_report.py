"""One page of HTML on all tasks: scores, tables by kind, cases, curves."""

import base64
import html
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from slan_jax.evaluation.cases import Case
from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.table import ROWS

CURVES = "curves.json"
_STYLE = """
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 1180px; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
details table { font-size: 13px; } .protocol, .name { color: #555; }
.cases { display: flex; flex-wrap: wrap; gap: 1.2em; }
.case { width: 180px; font-size: 13px; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 3px; }
.pictures svg { width: 180px; } .many svg { width: 87px; }
rect { fill: none; stroke-width: 2.5; vector-effect: non-scaling-stroke; }
polyline { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.curves { display: flex; flex-wrap: wrap; gap: 1.5em; }
.curves svg { width: 260px; height: 200px; border: 1px solid #ccc; }
.curves div { width: 260px; font-size: 13px; }
"""


class Curve(NamedTuple):
  """A curve in the unit square, such as precision over recall.

  Attributes:
    name: its title.
    x, y: values in [0, 1].
  """

  name: str
  x: Sequence[float]
  y: Sequence[float]


class Entry(NamedTuple):
  """What is told of one task.

  Attributes:
    report: of `report.read_report`.
    scratch: the same task learned without pre-training, or None.
    cases: best and worst ones.
    curves: such as precision over recall.
  """

  report: Mapping[str, Any]
  scratch: Mapping[str, Any] | None = None
  cases: Sequence[Case] = ()
  curves: Sequence[Curve] = ()


def write_page(title: str, entries: Sequence[Entry]) -> str:
  """The page.

  Args:
    title: its head line.
    entries: one per task.

  Returns:
    HTML that needs no other file.
  """
  summary = "".join(_summary_row(entry) for entry in entries)
  sections = "".join(map(_section, entries))
  return (
    '<!DOCTYPE html><html lang="en"><meta charset="utf-8">'
    f"<title>{_text(title)}</title><style>{_STYLE}</style>"
    f"<h1>{_text(title)}</h1>"
    f"<table><tr><th>task</th>{_heads()}</tr>{summary}</table>"
    f"{sections}</html>\n"
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


def colour(label: str) -> str:
  """The colour of a word, the same on every page."""
  hue = zlib.crc32(label.encode()) % 360
  return f"hsl({hue}, 75%, 42%)"


def _heads() -> str:
  names = ("metric", "model", "without pre-training", "at the start", "chance")
  return "".join(f"<th>{name}</th>" for name in names)


def _values(entry: Entry, metric: str) -> str:
  scratch = entry.scratch["metrics"] if entry.scratch else {}
  report = entry.report
  parts = (report["metrics"], scratch, report["untrained"], report["chance"])
  guess = metric.removeprefix("itc_").removeprefix("itm_")
  names = (metric, metric, metric, guess)
  cells = [
    f"{part[name]:.1f}" if name in part else "-"
    for part, name in zip(parts, names)
  ]
  return "".join(f"<td>{cell}</td>" for cell in cells)


def _summary_row(entry: Entry) -> str:
  metric, task = headline(entry.report), _text(entry.report["task"])
  label = _label(entry.report, metric)
  return (
    f'<tr><td><a href="#{task}">{task}</a></td><td>{label}</td>'
    f"{_values(entry, metric)}</tr>"
  )


def _label(report: Mapping[str, Any], metric: str) -> str:
  return _text(ROWS.get(report["task"], {}).get(metric, metric).strip())


def _section(entry: Entry) -> str:
  report = entry.report
  rows = [n for n in ROWS.get(report["task"], ()) if n in report["metrics"]]
  rest = [name for name in report["metrics"] if name not in rows]
  samples = ", ".join(
    f"{count:,} {_text(name.replace('_', ' '))}"
    for name, count in report["samples"].items()
    if count
  )
  return (
    f'<h2 id="{_text(report["task"])}">{_text(report["task"])}</h2>'
    f'<p class="protocol">{_text(report["protocol"])}</p>'
    f'<p class="name">{samples}; score: {_text(report["score"])}; step '
    f"{report['checkpoint_step']}</p>{_table(entry, rows)}"
    f"{_folded(entry, rest)}{_curves(entry.curves)}{_gallery(entry.cases)}"
  )


def _table(entry: Entry, metrics: Sequence[str]) -> str:
  if not metrics:
    return ""
  rows = "".join(
    f"<tr><td></td><td>{_label(entry.report, name)}</td>"
    f"{_values(entry, name)}</tr>"
    for name in metrics
  )
  return f"<table><tr><th></th>{_heads()}</tr>{rows}</table>"


def _folded(entry: Entry, metrics: Sequence[str]) -> str:
  if not metrics:
    return ""
  count = f"{len(metrics)} further metrics"
  return (
    f"<details><summary>{count}</summary>{_table(entry, metrics)}</details>"
  )


def _gallery(cases: Sequence[Case]) -> str:
  if not cases:
    return ""
  half = (len(cases) + 1) // 2
  parts = (("Best cases", cases[:half]), ("Worst cases", cases[half:]))
  return "".join(
    f'<h3>{name}</h3><div class="cases">{"".join(map(_case, some))}</div>'
    for name, some in parts
    if some
  )


def _case(case: Case) -> str:
  shown = [_picture(case.images[0], case.boxes, case.labels)]
  shown += [_picture(image, (), ()) for image in case.images[1:]]
  kind = "pictures many" if len(shown) > 1 else "pictures"
  lines = "".join(f"<div>{_text(line)}</div>" for line in case.lines)
  return (
    f'<div class="case"><div class="{kind}">{"".join(shown)}</div>'
    f"<b>{_coloured(case.text, case.labels)}</b>{lines}"
    f'<div class="name">score {case.score:.3g}</div></div>'
  )


def _coloured(text: str, labels: Sequence[str]) -> str:
  """A text whose labels have the colour of their boxes."""
  words = {_text(label): colour(label) for label in labels if label}
  if not words:
    return _text(text)
  longest_first = sorted(words, key=len, reverse=True)
  return re.sub(
    "|".join(map(re.escape, longest_first)),
    lambda m: f'<span style="color:{words[m[0]]}">{m[0]}</span>',
    _text(text),
  )


def _picture(image: np.ndarray, boxes: Any, labels: Sequence[str]) -> str:
  height, width = image.shape[:2]
  marks = "".join(
    f'<rect x="{x * width:.1f}" y="{y * height:.1f}" '
    f'width="{(right - x) * width:.1f}" height="{(low - y) * height:.1f}" '
    f'stroke="{colour(label)}"><title>{_text(label)}</title></rect>'
    for (x, y, right, low), label in zip(boxes, labels)
  )
  return (
    f'<svg viewBox="0 0 {width} {height}"><image href="{_uri(image)}" '
    f'width="{width}" height="{height}"/>{marks}</svg>'
  )


def _curves(curves: Sequence[Curve]) -> str:
  """Both axes from 0 to 1, the origin below on the left."""
  shown = []
  for curve in curves:
    points = " ".join(f"{x:.3f},{1 - y:.3f}" for x, y in zip(curve.x, curve.y))
    shown.append(
      '<div><svg viewBox="0 0 1 1" preserveAspectRatio="none">'
      f'<polyline points="{points}" stroke="{colour(curve.name)}"/></svg>'
      f"{_text(curve.name)}</div>"
    )
  return f'<div class="curves">{"".join(shown)}</div>' if shown else ""


def _uri(image: np.ndarray) -> str:
  out = io.BytesIO()
  Image.fromarray(image).save(out, "PNG")
  return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _text(text: str) -> str:
  return html.escape(str(text))
