"""Pictures after the paper's Figures 1, 4 and 9, of any images and texts.

Axis letters: E examples, P phrases, L levels, R regions. Boxes are xyxy in
[0,1].
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from slan_jax.evaluation import canvas
from slan_jax.evaluation.canvas import PHRASE_COLOURS
from slan_jax.evaluation.region_pictures import (
  Arrays,
  draw_best,
  grid,
  phrases_of,
  under,
)


class Panel(NamedTuple):
  """One task's answer about an image.

  Attributes:
    title: of the task. text: query or answer, over the panel.
    boxes: [n,4]. labels: of each, with its confidence.
    heat: [h,w] in any unit, or None.
  """

  title: str
  text: str
  boxes: np.ndarray
  labels: Sequence[str]
  heat: np.ndarray | None = None


def draw_tasks(image: np.ndarray, panels: Sequence[Panel], path: Path) -> Path:
  """Several tasks on one image (Figure 1).

  Args:
    image: uint8 [H,W,3].
    panels: one for each task.
    path: of the PNG.

  Returns:
    The path.
  """
  made, captions, axes = grid(
    2, [panel.text for panel in panels], "One model, several tasks",
    "left: the image; right: what the model sees, with its confidence",
  )  # fmt: skip
  for panel, caption, (plain, seen) in zip(panels, captions, axes):
    names = [label.rsplit(" ", 1)[0] for label in panel.labels]
    canvas.coloured_caption(caption, panel.text, names)
    canvas.show(plain, image)
    canvas.show(seen, image if panel.heat is None else warm(image, panel.heat))
    for number, (box, label) in enumerate(zip(panel.boxes, panel.labels)):
      colour = PHRASE_COLOURS[names.index(names[number]) % len(PHRASE_COLOURS)]
      canvas.draw_box(seen, box, colour, label=label)
    under(plain, panel.title)
  return canvas.save(made, path)


def warm(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
  """An image under a map of colours, warm where the map is high.

  Args:
    image: uint8 [H,W,3].
    heat: [h,w], stretched to 0..1; a constant one is cold everywhere.

  Returns:
    uint8 [H,W,3].
  """
  low, high = float(heat.min()), float(heat.max())
  level = (np.asarray(heat, np.float32) - low) / max(high - low, 1e-6)
  size = image.shape[1], image.shape[0]
  level = cv2.resize(level, size, interpolation=cv2.INTER_LINEAR)
  colours = cv2.applyColorMap(np.uint8(255 * level), cv2.COLORMAP_JET)
  return cv2.addWeighted(image, 0.5, colours[..., ::-1].copy(), 0.5, 0)


def draw_texts(arrays: Arrays, path: Path) -> Path:
  """How regions move with the text (Figure 4).

  Args:
    arrays: a snapshot, a row for each text.
    path: of the PNG.

  Returns:
    The path.
  """
  made, captions, panels = grid(
    2, [str(text) for text in arrays["caption"]],
    "Regions follow the text",
    "left: what the filter keeps, before any text; right: the best region of "
    "each phrase",
  )  # fmt: skip
  for row, (before, after) in enumerate(panels):
    canvas.coloured_caption(
      captions[row], str(arrays["caption"][row]), phrases_of(arrays, row)
    )
    for axes in (before, after):
      canvas.show(axes, arrays["image"][row])
    for box in arrays["boxes"][row, 0][arrays["region_mask"][row] > 0]:
      canvas.draw_box(before, box, "white", width=1.2)
    draw_best(after, arrays, row, -1, score=True)
  return canvas.save(made, path)


def draw_models(
  found: Sequence[Arrays], names: Sequence[str], path: Path
) -> Path:
  """Phrase grounding of several models side by side (Figure 9).

  Args:
    found: a snapshot of the same images and texts by each model.
    names: of the models.
    path: of the PNG.

  Returns:
    The path.
  """
  first: dict[str, Any] = found[0]
  made, captions, panels = grid(
    len(found), [str(text) for text in first["caption"]], "Phrase grounding",
    "number = similarity of region and phrase",
  )  # fmt: skip
  for row, line in enumerate(panels):
    canvas.coloured_caption(
      captions[row], str(first["caption"][row]), phrases_of(first, row)
    )
    for arrays, name, axes in zip(found, names, line):
      canvas.show(axes, arrays["image"][row])
      draw_best(axes, arrays, row, -1, score=True)
      under(axes, name)
  return canvas.save(made, path)
