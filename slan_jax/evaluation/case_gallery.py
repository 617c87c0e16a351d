"""Cases as HTML: pictures with boxes, and texts whose words have their colour.

A found box has a solid line, an annotated one a dashed line; both, and the
words that name them, have the colour of their label.
"""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from slan_jax.evaluation.cases import Case

STYLE = """
.cases { display: flex; flex-wrap: wrap; gap: 1.2em; }
.case { width: 180px; font-size: 13px; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 3px; }
.picture { position: relative; width: 180px; height: 180px; }
.many .picture { width: 87px; height: 87px; }
.picture img { width: 100%; height: 100%; display: block; }
.box { position: absolute; box-sizing: border-box; border: 2px solid; }
.true { border-style: dashed; }
"""
_LOSSLESS = 128  # pixels; a larger picture would make the page heavy


def gallery(cases: Sequence[Case]) -> str:
  """Best and worst cases under headings; "" without any."""
  if not cases:
    return ""
  labels = [x for case in cases for x in (*case.truth_labels, *case.labels)]
  hues = colours(labels)
  half = (len(cases) + 1) // 2
  parts = (("Best cases", cases[:half]), ("Worst cases", cases[half:]))
  legend = "Solid boxes were found, dashed ones annotated."
  told = any(len(case.truth) for case in cases)
  return (f'<p class="name">{legend}</p>' if told else "") + "".join(
    f'<h3>{name}</h3><div class="cases">'
    f"{''.join(_case(case, hues) for case in some)}</div>"
    for name, some in parts
    if some
  )


def colours(labels: Sequence[str]) -> dict[str, str]:
  """A colour of each label; those that come one after another differ most."""
  return {
    label: f"hsl({137.5 * number % 360:.0f}, 75%, 42%)"  # the golden angle
    for number, label in enumerate(dict.fromkeys(labels))
  }


def _case(case: Case, hues: Mapping[str, str]) -> str:
  shown = [_picture(case.images[0], _marks(case, hues))]
  shown += [_picture(image, "") for image in case.images[1:]]
  kind = "pictures many" if len(shown) > 1 else "pictures"
  labels = {*case.labels, *case.truth_labels}
  own = {label: hues[label] for label in labels if label}
  lines = "".join(f"<div>{_coloured(text, own)}</div>" for text in case.lines)
  return (
    f'<div class="case"><div class="{kind}">{"".join(shown)}</div>'
    f"<b>{_coloured(case.text, own)}</b>{lines}"
    f'<div class="name">score {case.score:.3g}</div></div>'
  )


def _coloured(text: str, hues: Mapping[str, str]) -> str:
  """A text whose labels have the colour of their boxes."""
  words = {html.escape(label): hue for label, hue in hues.items()}
  if not words:
    return html.escape(text)
  longest_first = sorted(words, key=len, reverse=True)
  whole = "|".join(map(re.escape, longest_first))
  return re.sub(
    rf"(?<!\w)(?:{whole})(?!\w)",  # "ring" is no word of "string"
    lambda m: f'<span style="color:{words[m[0]]}">{m[0]}</span>',
    html.escape(text),
  )


def _marks(case: Case, hues: Mapping[str, str]) -> str:
  """The boxes of a case, annotated ones below."""
  boxes = [("true", *row) for row in zip(case.truth, case.truth_labels)]
  boxes += [("found", *row) for row in zip(case.boxes, case.labels)]
  return "".join(
    f'<div class="box {kind}" title="{html.escape(label)}" style="'
    f"left:{x:.1%};top:{y:.1%};width:{right - x:.1%};height:{low - y:.1%};"
    f'border-color:{hues[label]}"></div>'
    for kind, (x, y, right, low), label in boxes
  )


def _picture(image: np.ndarray, marks: str) -> str:
  return f'<div class="picture"><img src="{_uri(image)}" alt="">{marks}</div>'


def _uri(image: np.ndarray) -> str:
  kind = "PNG" if max(image.shape[:2]) <= _LOSSLESS else "JPEG"
  out = io.BytesIO()
  Image.fromarray(image).save(out, kind, quality=90)
  text = base64.b64encode(out.getvalue()).decode()
  return f"data:image/{kind.lower()};base64,{text}"
