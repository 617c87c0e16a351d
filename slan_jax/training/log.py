"""What a run writes down: JSONL lines and TensorBoard, rewound on resume."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import jax
from etils import epath

from slan_jax.training.board import Board

TRAINING = "metrics.jsonl"  # a line per log interval
EVALUATIONS = "evaluations.jsonl"  # a line per evaluation during training
BOARD = "tensorboard"


class Averages:
  """Means of metrics since the last log line, from sums and counts."""

  def __init__(self, totals: Mapping[str, list[float]] | None = None):
    """Begins empty, or where `totals` of an earlier process ended."""
    self.totals = {name: list(pair) for name, pair in (totals or {}).items()}

  def add(self, metrics: Mapping[str, tuple[float, float]]) -> None:
    """Adds the (sum, count) of each metric of one step."""
    for name, (value, count) in metrics.items():
      total = self.totals.setdefault(name, [0.0, 0.0])
      total[0] += float(value)
      total[1] += float(count)

  def take(self) -> dict[str, float]:
    """The means, without metrics that were never counted; begins anew."""
    means = {
      name: v / count for name, (v, count) in self.totals.items() if count
    }
    self.totals = {}
    return means


class Log:
  """The records of one work directory; only process 0 writes."""

  def __init__(self, workdir: Path, step: int):
    """Opens the records and forgets what they hold after `step`.

    Args:
      workdir: of the run; in a bucket there is no TensorBoard.
      step: optimiser steps behind the state that training goes on from.
    """
    self._workdir = epath.Path(workdir)
    self._remote = "://" in str(workdir)
    self._writes = jax.process_index() == 0
    self._board = None
    self.rewind(step)

  def rewind(self, step: int) -> None:
    """Forgets what the records hold after `step`."""
    if self._writes:
      for name in (TRAINING, EVALUATIONS):
        rewind(self._workdir / name, step)
      self.close()
      if not self._remote:  # a bucket's objects do not grow
        self._board = Board(self._workdir / BOARD, step)

  def training(self, step: int, values: Mapping[str, float]) -> None:
    """Notes the means of the steps up to `step`."""
    self._write(TRAINING, "train", step, values)

  def evaluation(self, step: int, values: Mapping[str, float]) -> None:
    """Notes the scores of the parameters after `step` steps."""
    self._write(EVALUATIONS, "evaluation", step, values)

  def _write(self, file: str, group: str, step: int, values) -> None:
    if not self._writes:
      return
    # JSON has no NaN: a value that is none is left out.
    finite = {k: float(v) for k, v in values.items() if math.isfinite(v)}
    try:
      self._append(file, json.dumps({"step": step} | finite) + "\n")
      if self._board is not None:
        self._board.write(step, {f"{group}/{k}": v for k, v in finite.items()})
    except OSError as error:
      raise OSError(
        f"{self._workdir} cannot be written to ({error.strerror or error}); "
        "what was saved there is kept"
      ) from error

  def _append(self, file: str, line: str) -> None:
    path = self._workdir / file
    if self._remote:  # a few megabytes at the end of a long run
      path.write_text((path.read_text() if path.exists() else "") + line)
      return
    with path.open("a") as stream:
      stream.write(line)

  def close(self) -> None:
    """Flushes TensorBoard."""
    if self._board is not None:
      self._board.close()


def rewind(path: Path, step: int) -> None:
  """Removes records of later steps, and lines torn by a kill.

  Args:
    path: JSONL file whose lines hold a "step"; may be missing.
    step: the last step to keep.
  """
  if not path.exists():
    return
  kept = []
  for line in path.read_text().splitlines():
    try:
      record = json.loads(line)
    except json.JSONDecodeError:
      continue
    if isinstance(record, dict) and record.get("step", step + 1) <= step:
      kept.append(line + "\n")
  partial = path.with_suffix(".partial")
  partial.write_text("".join(kept))
  partial.replace(path)
