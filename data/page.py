"""A page of HTML with samples of a prepared directory, in one file."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

_SIDE = 360  # pixels of the longer side of a shown picture
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080")
_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em; max-width: 1200px; }
.samples { display: flex; flex-wrap: wrap; gap: 1.5em; }
.sample { width: 360px; } .sample svg { width: 100%; height: auto; }
.pictures { display: flex; flex-wrap: wrap; gap: 4px; align-items: start; }
.sample .many svg { width: 178px; }
.name { color: #666; font-size: 12px; overflow-wrap: anywhere; }
ul { margin: .3em 0; padding-left: 1.2em; } .plots img { max-width: 33%; }
rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
text { font-size: 13px; paint-order: stroke; stroke: white; stroke-width: 3; }
"""


def write_page(
  title: str,
  splits: Mapping[str, Sequence[Mapping[str, Any]]],
  plots: Sequence[bytes],
  totals: Mapping[str, int],
) -> str:
  """The page.

  Args:
    title: Its head line.
    splits: Records of `schema` to show, by split.
    plots: Pictures to show above them, PNG.
    totals: Records of each split.

  Returns:
    HTML that needs no other file.
  """
  shown = [
    f"<h2>{_text(split)}: {len(records)} of {totals[split]:,} records</h2>"
    f'<div class="samples">{"".join(map(_sample, records))}</div>'
    for split, records in splits.items()
  ]
  images = "".join(f'<img alt="" src="{_uri(plot, "png")}">' for plot in plots)
  return (
    f'<!DOCTYPE html><html lang="en"><meta charset="utf-8">'
    f"<title>{_text(title)}</title><style>{_STYLE}</style>"
    f'<h1>{_text(title)}</h1><div class="plots">{images}</div>'
    f"{''.join(shown)}</html>\n"
  )


def _sample(record: Mapping[str, Any]) -> str:
  """One record: its pictures with boxes, and all that is said."""
  boxes = list(_named_boxes(record))
  pictures = [_picture(record["image"], boxes)]
  for image in record.get("more_images", {}).get("image", ()):
    pictures.append(_picture(image, []))
  lines = [_text(caption) for caption in record["captions"]]
  lines += _answered(record)
  told = record.get("statements", {"text": (), "true": ()})
  for text, true in zip(told["text"], told["true"]):
    lines.append(f"{_text(text)} <b>{'true' if true else 'false'}</b>")
  items = "".join(f"<li>{line}</li>" for line in lines)
  size = f"{record['width']}x{record['height']}"
  kind = "pictures many" if len(pictures) > 1 else "pictures"
  return (
    f'<div class="sample"><div class="{kind}">{"".join(pictures)}</div>'
    f'<div class="name">'
    f"{_text(record['id'])}, {size}</div><ul>{items}</ul></div>"
  )


def _answered(record: Mapping[str, Any]) -> list[str]:
  lines = []
  asked = record.get("questions", {"text": ()})["text"]
  for number, question in enumerate(asked):
    answers = record["answers"]
    rows = zip(answers["question"], answers["text"], answers["count"])
    given = [f"{text} ({count})" for q, text, count in rows if q == number]
    lines.append(f"{_text(question)} <b>{_text(', '.join(given))}</b>")
  return lines


def _named_boxes(record: Mapping[str, Any]):
  """Rows of (name, box), those of phrases and those of objects."""
  phrases, boxes = record["phrases"]["text"], record["phrase_boxes"]
  for number, box in zip(boxes["phrase"], boxes["box"]):
    yield phrases[number], box
  objects = record["objects"]
  for label, box, crowd in zip(
    *(objects[k] for k in ("label", "box", "crowd"))
  ):
    yield f"{label} (crowd)" if crowd else label, box


def _picture(data: bytes, boxes: list[tuple[str, np.ndarray]]) -> str:
  """A picture with boxes over it; names of one colour belong together."""
  pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
  if pixels is None:
    return "<p>cannot be decoded</p>"
  height, width = pixels.shape[:2]
  scale = min(1.0, _SIDE / max(height, width))
  w, h = max(1, round(width * scale)), max(1, round(height * scale))
  small = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA)
  encoded = cv2.imencode(".jpg", small)[1].tobytes()
  drawn, colours = [], {}
  for name, (x1, y1, x2, y2) in boxes:
    colour = colours.setdefault(name, _COLOURS[len(colours) % len(_COLOURS)])
    left, top = x1 * w, y1 * h
    drawn.append(
      f'<rect x="{left:.1f}" y="{top:.1f}" width="{(x2 - x1) * w:.1f}" '
      f'height="{(y2 - y1) * h:.1f}" stroke="{colour}"/>'
      f'<text x="{left + 3:.1f}" y="{max(top + 13, 13):.1f}" '
      f'fill="{colour}">{_text(name)}</text>'
    )
  return (
    f'<svg viewBox="0 0 {w} {h}"><image width="{w}" height="{h}" '
    f'href="{_uri(encoded, "jpeg")}"/>{"".join(drawn)}</svg>'
  )


def draw_histogram(values: Sequence[float], title: str, unit: str) -> bytes:
  """A histogram as PNG."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(6, 3), layout="constrained")
  axes = figure.subplots()
  axes.hist(values, bins=40, color="#4363d8")
  axes.set(title=title, xlabel=unit, ylabel="count")
  file = io.BytesIO()
  figure.savefig(file, format="png", dpi=100)
  return file.getvalue()


def _uri(data: bytes, kind: str) -> str:
  return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _text(value: Any) -> str:
  return html.escape(str(value))
