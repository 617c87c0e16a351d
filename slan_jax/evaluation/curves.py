"""Curves of a run: losses, scores and collapse monitors over the steps."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from slan_jax.evaluation import canvas

Records = list[dict[str, Any]]

# Name -> label and colour; a curve is drawn where a record has its name.
LOSSES = {
  "loss": ("all (Eq. 8)", "#212529"),
  "itc": ("ITC", "#1C7ED6"),
  "itm": ("ITM", "#E8590C"),
  "mlm": ("MLM", "#2B8A3E"),
  "lm": ("LM", "#66A80F"),
  "reg": ("regions", "#C2255C"),
  "phrase": ("phrases", "#7048E8"),
  "saliency": ("saliency", "#F59F00"),
}
SCORES = {
  "i2t_r1": ("image to text R@1", "#1C7ED6"),
  "t2i_r1": ("text to image R@1", "#15AABF"),
  "pointing": ("pointing", "#E8590C"),
  "grounding_r1": ("grounding R@1", "#2B8A3E"),
  "grounding_r1_random": ("a random kept region", "#ADB5BD"),
}
MONITORS = {
  "area": ("box area", "#1C7ED6"),
  "pairwise_iou": ("IoU between regions", "#E8590C"),
  "spread": ("spread of centres", "#2B8A3E"),
  "shift_x": ("shift in x", "#7048E8"),
  "shift_y": ("shift in y", "#C2255C"),
}
WINDOW = 0.04  # of the run, over which noisy curves are averaged


def smooth(values: np.ndarray, window: int) -> np.ndarray:
  """Mean over a centred window that shrinks at the ends.

  Args:
    values: [n].
    window: records on each side.

  Returns:
    [n].
  """
  total = np.concatenate([[0.0], np.cumsum(values)])
  position = np.arange(len(values))
  reach = np.minimum(window, np.minimum(position, len(values) - 1 - position))
  low, high = position - reach, position + reach + 1
  return (total[high] - total[low]) / (high - low)


def series(records: Records, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Steps and values of the records that have a finite one: [n], [n]."""
  rows = [
    (record["step"], record[name])
    for record in records
    if isinstance(record.get(name), int | float) and np.isfinite(record[name])
  ]
  steps, values = np.array(rows, float).reshape(-1, 2).T
  return steps, values


def _panel(axes: Axes, records: Records, curves: dict, title: str, noisy: bool):
  """Draws the curves that the records have."""
  for name, (label, colour) in curves.items():
    steps, values = series(records, name)
    if not steps.size:
      continue
    width = 2.0 if name == "loss" else 1.6
    if noisy and len(steps) > 10:
      axes.plot(steps, values, color=colour, alpha=0.18, linewidth=0.8)
      values = smooth(values, max(1, round(WINDOW * len(values))))
    marker = "" if noisy else "o"
    axes.plot(steps, values, color=colour, linewidth=width, marker=marker,
              markersize=3.5, label=label,
              linestyle="--" if "random" in name else "-")  # fmt: skip
  axes.set_title(title, fontsize=11, loc="left", color=canvas.INK,
                 fontweight="bold")  # fmt: skip
  axes.set_xlabel("step", fontsize=9)
  axes.tick_params(labelsize=8)
  axes.grid(color="#E9ECEF", linewidth=0.8)
  axes.set_axisbelow(True)
  axes.spines[["top", "right"]].set_visible(False)
  axes.legend(fontsize=8, frameon=False, labelcolor=canvas.INK, ncols=3,
              loc="upper left", bbox_to_anchor=(-0.06, -0.17),
              columnspacing=1.2, handlelength=1.4)  # fmt: skip


def draw_curves(training: Records, scores: Records, path: Path) -> Path:
  """Losses, scores on the evaluation split, and collapse monitors.

  Args:
    training: records of the training log.
    scores: records of in-training evaluation.
    path: of the PNG.

  Returns:
    The path.

  Raises:
    ValueError: no record holds any known curve.
  """
  panels = [
    (records, curves, title, noisy)
    for records, curves, title, noisy in (
      (training, LOSSES, "Losses", True),
      (scores, SCORES, "Scores while training (percent)", False),
      (training, MONITORS, "Kept regions (part of the image)", True),
    )
    if any(series(records, name)[0].size for name in curves)
  ]
  if not panels:
    raise ValueError("draw_curves: no record holds a known loss or score")
  made = canvas.figure(4.8 * len(panels), 4.2)
  grid = made.subplots(1, len(panels), squeeze=False)[0]
  for axes, (records, curves, title, noisy) in zip(grid, panels):
    _panel(axes, records, curves, title, noisy)
    low, high = axes.get_ylim()
    if curves is LOSSES and low > 0 and high > 20 * low:
      axes.set_yscale("log")
    if curves is SCORES:
      axes.set_ylim(0, 102)
  made.tight_layout(w_pad=2.5)
  return canvas.save(made, path)
