"""Pictures of answers to a user: where phrases are, what a text finds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slan_jax.evaluation import canvas
from slan_jax.evaluation.canvas import PHRASE_COLOURS

WIDTH = 6.4  # inches of a grounded picture
PANEL = 2.2  # inches of a found one
MARGIN = 0.15
UNDER = 0.4  # inches below a panel


def draw_grounding(
  image: np.ndarray,
  text: str,
  phrases: Sequence[str],
  boxes: np.ndarray,
  path: Path,
  owners: Sequence[int] | None = None,
) -> Path:
  """A picture with the boxes of phrases, in the phrase's colour.

  Args:
    image: uint8 [H, W, 3].
    text: that the phrases are part of.
    phrases: P of them.
    boxes: [n, 4] xyxy in [0, 1].
    path: of the PNG.
    owners: int [n], the phrase of each box; None = one for each, in order.

  Returns:
    The path.
  """
  owners = range(len(boxes)) if owners is None else owners
  inner = WIDTH - 2 * MARGIN
  lines = canvas.LINE * canvas.caption_lines([text], inner) + 0.06
  tall = inner * image.shape[0] / image.shape[1]
  height = lines + tall + 3 * MARGIN
  made = canvas.figure(WIDTH, height)

  def place(bottom: float, size: float):
    return made.add_axes(
      (MARGIN / WIDTH, bottom / height, inner / WIDTH, size / height)
    )

  caption = place(tall + 2 * MARGIN, lines)
  canvas.coloured_caption(caption, text, phrases)
  axes = place(MARGIN, tall)
  canvas.show(axes, image)
  for number, (owner, box) in enumerate(zip(owners, boxes)):
    phrase = phrases[owner]
    colour = PHRASE_COLOURS[owner % len(PHRASE_COLOURS)]
    inside = sum(np.array_equal(box, other) for other in boxes[:number])
    canvas.draw_box(axes, box, colour, label=phrase, inside=inside)
  return canvas.save(made, path)


def draw_found(
  text: str, images: Sequence[np.ndarray], labels: Sequence[str], path: Path
) -> Path:
  """The images that a text finds, best first.

  Args:
    text: the query.
    images: uint8 [H, W, 3] each.
    labels: under each image.
    path: of the PNG.

  Returns:
    The path.
  """
  width = max(len(images) * PANEL, 4.0) + 2 * MARGIN
  lines = canvas.LINE * canvas.caption_lines([text], width) + 0.06
  height = lines + PANEL + UNDER + 2 * MARGIN
  made = canvas.figure(width, height)
  caption = made.add_axes(
    (
      MARGIN / width,
      (PANEL + UNDER + MARGIN) / height,
      1 - 2 * MARGIN / width,
      lines / height,
    )
  )
  canvas.coloured_caption(caption, text, [])
  for place, (image, label) in enumerate(zip(images, labels)):
    left = MARGIN + place * PANEL
    axes = made.add_axes(
      (
        left / width,
        UNDER / height,
        (PANEL - 0.1) / width,
        (PANEL - 0.1) / height,
      )
    )
    canvas.show(axes, image)
    axes.set_xlabel(label, fontsize=8, color=canvas.INK, labelpad=3)
  return canvas.save(made, path)
