"""Scores of checkpoints: they decide which one is the best, and kept."""

import json
import logging
from collections.abc import Sequence

import jax
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

LOG = logging.getLogger(__name__)
FILE = "scores.json"


class Scores:
  """Step -> score, higher is better; a file beside the checkpoints."""

  def __init__(self, directory: epath.Path):
    """Reads what is there; what is unreadable is reported and forgotten."""
    self._path = directory / FILE
    self._values: dict[int, float] = {}
    try:
      found = json.loads(self._path.read_text())
      self._values = {int(step): float(value) for step, value in found.items()}
    except FileNotFoundError:
      pass
    except (ValueError, AttributeError, TypeError) as error:
      LOG.warning(
        "%s is unreadable (%s): scores so far are lost", self._path, error
      )

  def note(self, step: int, score: float) -> None:
    """Gives a step its score."""
    self._values[step] = float(score)
    self._write()

  def drop(self, steps: Sequence[int]) -> None:
    """Forgets the scores of steps."""
    for step in steps:
      self._values.pop(step, None)
    self._write()

  def best(self, steps: Sequence[int]) -> int | None:
    """The step with the highest score (the later of equals), if one has any."""
    scored = [(self._values[s], s) for s in steps if s in self._values]
    return max(scored)[1] if scored else None

  def _write(self) -> None:
    if jax.process_index() == 0:
      partial = self._path.with_name(f"{FILE}.partial")
      partial.write_text(json.dumps(self._values))
      partial.replace(self._path)


class NewestAndBest(preservation_policy.PreservationPolicy):
  """Keeps the newest checkpoints and the best one."""

  def __init__(self, keep: int, scores: Scores):
    """Keeps `keep` newest, and the best of `scores`."""
    self._keep, self._scores = keep, scores

  def should_preserve(self, checkpoints, *, context) -> list[bool]:
    """Whether each checkpoint stays; see Orbax."""
    steps = [info.step for info in checkpoints]
    kept = {*sorted(steps)[-self._keep :], self._scores.best(steps)}
    return [step in kept for step in steps]
