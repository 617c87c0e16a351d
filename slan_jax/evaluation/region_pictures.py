"""Pictures of regions: over training, after each level, around the filter.

Each takes arrays of a snapshot (`slan_jax.evaluation.snapshot`) and writes one
PNG. A phrase has one colour in the caption and in every panel; boxes that a
person annotated are dashed.
"""

from pathlib import Path

import numpy as np

from slan_jax.evaluation import canvas
from slan_jax.evaluation.canvas import FAINT, INK, PHRASE_COLOURS

Arrays = dict[str, np.ndarray]
PANEL = 2.35  # inches, with the gap to the next
GAP = 0.08
TITLE = 0.7  # inches above everything
UNDER = 0.42  # inches below a panel


def grid(columns: int, captions: list[str], title: str, note: str):
  """A row of panels under each caption, all under a title.

  Returns:
    The figure, the axes of each caption, and those of each row of panels.
  """
  text = canvas.LINE * canvas.caption_lines(captions, columns * PANEL) + 0.06
  width = max(columns * PANEL + 0.3, 6.2)
  height = TITLE + len(captions) * (text + PANEL + UNDER)
  made = canvas.figure(width, height)

  def place(x: float, y: float, w: float, h: float):  # inches
    return made.add_axes((x / width, y / height, w / width, h / height))

  left = (width - columns * PANEL) / 2
  made.text((left + GAP / 2) / width, 1 - 0.12 / height, title, fontsize=13,
            color=INK, fontweight="bold", va="top")  # fmt: skip
  made.text((left + GAP / 2) / width, 1 - 0.4 / height, note, fontsize=9,
            color=FAINT, va="top")  # fmt: skip
  lines, panels = [], []
  for row in range(len(captions)):
    y = height - TITLE - row * (text + PANEL + UNDER) - text
    lines.append(place(left + GAP / 2, y, columns * PANEL - GAP, text))
    panels.append([
      place(left + column * PANEL + GAP / 2, y - PANEL + GAP / 2,
            PANEL - GAP, PANEL - GAP)
      for column in range(columns)
    ])  # fmt: skip
  return made, lines, panels


def under(axes, text: str) -> None:
  """Writes a line below a panel."""
  axes.set_xlabel(text, fontsize=9, color=INK, labelpad=3)


def phrases_of(arrays: Arrays, example: int) -> list[str]:
  """The phrases of an example's caption, in words."""
  return [str(phrase) for phrase in arrays["phrase"][example] if phrase]


def draw_best(axes, arrays: Arrays, example: int, level: int, score: bool):
  """The best kept region of every phrase that prefers one."""
  kept = np.flatnonzero(arrays["region_mask"][example])
  if not kept.size:
    return
  scores = arrays["phrase_scores"][example, :, level][:, kept]
  taken: list[int] = []
  for phrase, _ in enumerate(phrases_of(arrays, example)):
    best = int(np.argmax(scores[phrase]))
    if kept.size > 1 and np.ptp(scores[phrase]) == 0:
      continue
    canvas.draw_box(
      axes,
      arrays["boxes"][example, level, kept[best]],
      PHRASE_COLOURS[phrase % len(PHRASE_COLOURS)],
      label=f"{scores[phrase, best]:.2f}" if score else "",
      inside=taken.count(best),
    )
    taken.append(best)


def _draw_truth(axes, arrays: Arrays, example: int):
  for phrase, _ in enumerate(phrases_of(arrays, example)):
    box = arrays["truth"][example, phrase]
    if np.isfinite(box).all():
      canvas.draw_box(axes, box, "white", width=1.2, dashed=True)


def draw_levels(arrays: Arrays, path: Path, *, examples: int = 3) -> Path:
  """The best region of every phrase after each level (Figures 4 and 6).

  Args:
    arrays: a snapshot.
    path: of the PNG.
    examples: rows, at most.

  Returns:
    The path.
  """
  rows = min(examples, len(arrays["image"]))
  levels = arrays["boxes"].shape[1]
  made, captions, panels = grid(
    levels, [str(text) for text in arrays["caption"][:rows]],
    "From coarse to fine: the best region of each phrase",
    "number = similarity of region and phrase; dashed = annotated box, never "
    "seen in training",
  )  # fmt: skip
  for row in range(rows):
    canvas.coloured_caption(
      captions[row], str(arrays["caption"][row]), phrases_of(arrays, row)
    )
    for level, axes in enumerate(panels[row]):
      canvas.show(axes, arrays["image"][row])
      _draw_truth(axes, arrays, row)
      draw_best(axes, arrays, row, level, score=True)
      under(axes, f"level {level}" if level else "from the filter")
  return canvas.save(made, path)


def spread(count: int, wanted: int) -> list[int]:
  """At most `wanted` positions of 0..count-1, evenly, first and last kept."""
  return sorted({round(x) for x in np.linspace(0, count - 1, wanted)})


def draw_training(
  snapshots: list[Arrays], path: Path, *, examples: int = 2, columns: int = 6
) -> Path:
  """The regions of an image as training goes on (Figure 5).

  Args:
    snapshots: in the order of their steps.
    path: of the PNG.
    examples: rows, at most.
    columns: snapshots shown, at most; the first and the last always are.

  Returns:
    The path.
  """
  chosen = [snapshots[i] for i in spread(len(snapshots), columns)]
  final = max(int(chosen[-1]["step"]), 1)
  rows = min(examples, *(len(arrays["image"]) for arrays in chosen))
  made, captions, panels = grid(
    len(chosen), [str(text) for text in chosen[-1]["caption"][:rows]],
    "Regions during training",
    "under each image: part of the training done; colour = best region of a "
    "phrase, white = other kept regions",
  )  # fmt: skip
  for row in range(rows):
    canvas.coloured_caption(
      captions[row],
      str(chosen[-1]["caption"][row]),
      phrases_of(chosen[-1], row),
    )
    for arrays, axes in zip(chosen, panels[row]):
      canvas.show(axes, arrays["image"][row])
      for box in arrays["boxes"][row, -1][arrays["region_mask"][row] > 0]:
        canvas.draw_box(axes, box, "white", width=0.9, alpha=0.75)
      draw_best(axes, arrays, row, -1, score=False)
      step = int(arrays["step"])
      under(axes, f"{step / final:.2g}  (step {step:,})")
  return canvas.save(made, path)


def draw_filter(arrays: Arrays, path: Path, *, examples: int = 4) -> Path:
  """All proposals, and those that the region filter keeps (Figure 7).

  Args:
    arrays: a snapshot.
    path: of the PNG.
    examples: columns, at most.

  Returns:
    The path.

  Raises:
    ValueError: the snapshot holds no proposals.
  """
  if arrays["proposals"].shape[1] == 0:
    raise ValueError("draw_filter: the snapshot holds no proposals")
  columns = min(examples, len(arrays["image"]))
  names = ["before: every proposal of the detector", "after: what it keeps"]
  made, headings, panels = grid(
    columns, names, "The region filter",
    "the more salient a region, the stronger its line",
  )  # fmt: skip
  for axes, text in zip(headings, names):
    canvas.coloured_caption(axes, text, [])
  for column in range(columns):
    score = arrays["proposal_score"][column]
    strength = score / max(float(score.max()), 1e-6)
    before, after = panels[0][column], panels[1][column]
    canvas.show(before, arrays["image"][column])
    for order in np.argsort(strength):
      alpha = float(np.clip(strength[order], 0.15, 1))
      canvas.draw_box(before, arrays["proposals"][column, order],
                      PHRASE_COLOURS[0], width=1.3, alpha=alpha)  # fmt: skip
    kept = arrays["region_mask"][column].astype(bool)
    canvas.show(after, arrays["image"][column])
    for box in arrays["boxes"][column, 0][kept]:
      canvas.draw_box(after, box, PHRASE_COLOURS[1], width=1.6)
    under(before, f"{len(score)} proposals")
    under(after, f"{kept.sum()} kept")
  return canvas.save(made, path)
