"""What all pictures share: colours, sharp enlargements, boxes, coloured text.

Boxes are xyxy in [0,1] of the image.
"""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib.patheffects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from slan_jax.evaluation.files import write_atomically

# One colour per phrase, in the caption and in every panel; told apart also by
# readers who see fewer colours (after Okabe and Ito), readable on photographs.
PHRASE_COLOURS = ("#E8590C", "#1C7ED6", "#2B8A3E", "#C2255C", "#7048E8")
RIGHT = "#2B8A3E"
MISS = "#C92A2A"
INK = "#212529"
FAINT = "#868E96"
SIDE = 256  # pixels to which small images are enlarged
DPI = 110
CAPTION_SIZE = 10.5  # points
LINE = 0.21  # inches from one line of a caption to the next


def figure(width: float, height: float) -> Figure:
  """A figure that needs no screen and no global state; inches."""
  made = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
  FigureCanvasAgg(made)
  return made


def save(made: Figure, path: Path) -> Path:
  """Writes a figure as PNG, whole or not at all."""
  buffer = io.BytesIO()
  made.savefig(buffer, format="png")
  write_atomically(path, buffer.getvalue())
  return path


def enlarged(image: np.ndarray) -> np.ndarray:
  """Enlarges a small image smoothly, so that boxes drawn on it stay fine.

  Args:
    image: uint8 [H,W,3].

  Returns:
    uint8, its longer side at least `SIDE` pixels.
  """
  height, width = image.shape[:2]
  factor = SIDE / max(height, width)
  if factor <= 1:
    return image
  size = (round(width * factor), round(height * factor))
  return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)


def show(axes: Axes, image: np.ndarray) -> None:
  """Puts an image on axes whose coordinates are fractions of the image."""
  axes.imshow(enlarged(image), extent=(0, 1, 1, 0), aspect="auto")
  axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
  height, width = image.shape[:2]
  axes.set_box_aspect(height / width)
  frame(axes, "#DEE2E6", 0.8)


def frame(axes: Axes, colour: str, width: float) -> None:
  """Draws the border of a panel; width in points."""
  for spine in axes.spines.values():
    spine.set(color=colour, linewidth=width)


def draw_box(
  axes: Axes,
  box: Sequence[float],
  colour: str,
  *,
  width: float = 2.2,
  alpha: float = 1.0,
  dashed: bool = False,
  label: str = "",
  inside: int = 0,
) -> None:
  """Draws a box with a thin dark rim, and its label inside the upper edge.

  Args:
    axes: of `show`.
    box: [4] xyxy.
    colour: of line and label.
    width: of the line, points.
    alpha: opacity.
    dashed: for boxes that a person annotated.
    label: short text, "" for none.
    inside: boxes already drawn at this place; this one goes inside them.
  """
  x, y, right, bottom = np.clip(np.asarray(box, float), 0.004, 0.996)
  inset = min(0.016 * inside, (right - x) / 3, (bottom - y) / 3)
  x, y, right, bottom = x + inset, y + inset, right - inset, bottom - inset
  rim = matplotlib.patheffects.withStroke(
    linewidth=width + 1.2, foreground="#00000066", alpha=alpha
  )
  axes.add_patch(
    Rectangle(
      (x, y), right - x, bottom - y, fill=False, edgecolor=colour,
      linewidth=width, alpha=alpha, linestyle=(0, (3, 2)) if dashed else "-",
      path_effects=[] if dashed else [rim], joinstyle="round",
    )
  )  # fmt: skip
  if label:
    # Above the box where there is room, else inside it.
    above = y > 0.09
    axes.text(
      x + 0.115 * inside, y - 0.012 if above else y + 0.012, label,
      fontsize=7.5, color="white",
      ha="left", va="bottom" if above else "top", clip_on=True,
      bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2,
            "alpha": 0.92},
    )  # fmt: skip


def phrase_spans(caption: str, phrases: Sequence[str]) -> list[tuple[int, int]]:
  """Where each phrase stands in the caption; (0, 0) when it does not.

  Equal phrases take one occurrence after the other.

  Args:
    caption: the text.
    phrases: phrases of it, in any letter case.

  Returns:
    (start, end) characters of each phrase.
  """
  taken, spans = [], []
  low = caption.lower()
  for phrase in phrases:
    start = low.find(phrase.lower()) if phrase else -1
    while start >= 0 and any(
      start < e and s < start + len(phrase) for s, e in taken
    ):
      start = low.find(phrase.lower(), start + 1)
    span = (start, start + len(phrase)) if start >= 0 else (0, 0)
    taken += [span] if start >= 0 else []
    spans.append(span)
  return spans


def caption_lines(captions: Sequence[str], width: float) -> int:
  """Lines that the longest caption takes on a width, in inches; a guess."""
  letters = max(int(width * 72 / (0.62 * CAPTION_SIZE)), 10)
  return max(len(textwrap.wrap(text, letters)) or 1 for text in captions)


def _colour_of(position: int, spans: Sequence[tuple[int, int]]) -> str:
  for number, (start, end) in enumerate(spans):
    if start <= position < end:
      return PHRASE_COLOURS[number % len(PHRASE_COLOURS)]
  return INK


def coloured_caption(axes: Axes, caption: str, phrases: Sequence[str]) -> None:
  """Writes a caption over the axes' width, each phrase in its colour.

  Args:
    axes: gets nothing but the text, its last line at the bottom.
    caption: the text; wrapped between words.
    phrases: phrases of it; phrase i takes colour i.
  """
  axes.axis("off")
  spans = phrase_spans(caption, phrases)
  renderer = axes.figure.canvas.get_renderer()
  box = axes.get_window_extent(renderer)
  gap = 0.3 * CAPTION_SIZE * axes.figure.dpi / 72
  placed, left, line, position = [], 0.0, 0, 0
  for word in caption.split(" "):
    colour = _colour_of(position, spans)
    text = axes.text(
      0, 0, word, fontsize=CAPTION_SIZE, color=colour, va="bottom",
      fontweight="normal" if colour == INK else "bold", transform=None,
    )  # fmt: skip
    width = text.get_window_extent(renderer).width
    if left and left + width > box.width:
      left, line = 0.0, line + 1
    placed.append((text, left, line))
    left += width + gap
    position += len(word) + 1
  height = LINE * axes.figure.dpi
  for text, x, row in placed:
    text.set_position((box.x0 + x, box.y0 + (line - row) * height))
