"""Do losses in bfloat16 follow those in float32? Two runs, side by side.

  slan-train --config FILE --workdir A --config.model.compute_dtype=float32
  slan-train --config FILE --workdir B --config.model.compute_dtype=bfloat16
  python -m benchmarks.precision A B --output curves.png

prints, for each loss, the mean over the last quarter of both runs and the
largest gap between the smoothed curves, and draws them.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.evaluation import canvas
from slan_jax.evaluation.curves import LOSSES, series, smooth
from slan_jax.evaluation.history import TRAINING, load_history

WINDOW = 0.05  # of the run, on each side of a smoothed point


class Pair(NamedTuple):
  """Curves of one loss: its steps, then raw and smoothed values of both."""

  steps: np.ndarray
  raw: tuple[np.ndarray, np.ndarray]
  smooth: tuple[np.ndarray, np.ndarray]

  def last_quarter(self) -> tuple[float, float]:
    """Means of both runs at the end."""
    quarter = -(-len(self.steps) // 4)
    return tuple(float(np.mean(values[-quarter:])) for values in self.raw)

  def largest_gap(self) -> float:
    """Largest distance of the smoothed curves, over the first one's value."""
    first, second = self.smooth
    return float(np.max(np.abs(second - first) / np.maximum(first, 1e-9)))


def compare(first: Path, second: Path) -> dict[str, Pair]:
  """Reads the losses that both work directories have logged, step by step.

  Raises:
    ValueError: there are none, or none of the same step.
  """
  records = [load_history(Path(p) / TRAINING) for p in (first, second)]
  pairs = {}
  for name in LOSSES:
    (steps, one), (others, two) = (series(each, name) for each in records)
    if not len(steps) and not len(others):
      continue
    steps, kept, same = np.intersect1d(steps, others, return_indices=True)
    if not len(steps):
      raise ValueError(f"{first} and {second} logged {name} at different steps")
    one, two = one[kept], two[same]
    window = max(1, round(WINDOW * len(steps)))
    smoothed = smooth(one, window), smooth(two, window)
    pairs[name] = Pair(steps, (one, two), smoothed)
  if not pairs:
    raise ValueError(f"{first} and {second}: no losses in {TRAINING}")
  return pairs


def draw(pairs: dict[str, Pair], path: Path) -> None:
  """One panel a loss: both curves, smoothed, over what was logged."""
  made = canvas.figure(3.4 * len(pairs), 3.2)
  grid = made.subplots(1, len(pairs), squeeze=False)[0]
  for axes, (name, pair) in zip(grid, pairs.items()):
    label, _ = LOSSES[name]
    for which, colour, style in ((0, "#1C7ED6", "-"), (1, "#E8590C", "--")):
      dtype = ("float32", "bfloat16")[which]
      axes.plot(pair.steps, pair.raw[which], color=colour, alpha=0.25, lw=0.8)
      axes.plot(
        pair.steps, pair.smooth[which], style, color=colour, label=dtype
      )
    axes.set_title(label, fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=7)
  grid[0].legend(fontsize=8, frameon=False)
  made.tight_layout()
  canvas.save(made, path)


def main() -> None:
  """Prints the comparison and draws it."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("float32", type=Path, help="work directory")
  parser.add_argument("bfloat16", type=Path, help="work directory")
  parser.add_argument("--output", type=Path, required=True, help="PNG")
  options = parser.parse_args()
  pairs = compare(options.float32, options.bfloat16)
  print("| loss | float32, last quarter | bfloat16 | largest gap |")
  print("|---|---|---|---|")
  for name, pair in pairs.items():
    first, second = pair.last_quarter()
    gap = f"{100 * pair.largest_gap():.1f} %"
    print(f"| {LOSSES[name][0]} | {first:.3f} | {second:.3f} | {gap} |")
  draw(pairs, options.output)


if __name__ == "__main__":
  main()
