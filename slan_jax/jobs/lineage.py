"""What a run began from, and what that had learned from."""

import json
from pathlib import Path
from typing import Any

from slan_jax.interop import exported
from slan_jax.jobs import workdir
from slan_jax.jobs.experiment import Experiment

_BOXED = ("detection", "grounding")


def standing(experiment: Experiment, task: str, data: str) -> str:
  """Whether scores are zero-shot: a sentence for a protocol.

  Silence: the paper's zero-shot rows do not say whether the model was tuned on
  another data set, as BLIP's was on COCO. Both can be scored, and are told. A
  data set that was pre-trained on is no zero-shot test, whatever its split.

  Args:
    experiment: of the run that is scored.
    task: that is scored.
    data: prepared directory that it is scored on.
  """
  own = experiment.data
  sources = {name: Path(place) for name, place, _ in own.mixture}
  sources = sources or {Path(own.dir).name: Path(own.dir)}
  told = f"The run learned {experiment.task} from {', '.join(sources)}"
  known = Path(data).resolve() in {p.resolve() for p in sources.values()}
  told += ", the data set scored here" if known else ", not from this data set"
  if task != experiment.task:
    told += f", and was not fine-tuned for {task}"
  return f"{told}." if known else f"{told}: zero-shot."


def saw_boxes(training: dict[str, Any]) -> bool | None:
  """Whether a run, or anything that it began from, learned from boxes.

  Args:
    training: configuration of the run, as JSON values.

  Returns:
    None where what it began from is gone, or of another version.
  """
  return _saw(training, frozenset())


def _saw(training: dict[str, Any], passed: frozenset[str]) -> bool | None:
  start = training["init_from"]
  found = [training["task"] in _BOXED]
  if start["run"]:
    found.append(_origin(start["run"], passed))
  if start["detector"]:
    found.append(_detector(start["detector"], passed))
  return True if True in found else None if None in found else False


def _detector(name: str, passed: frozenset[str]) -> bool | None:
  """A published detector learned from boxes; part of an export may not have."""
  try:
    ours = exported.is_slan(name)
  except ValueError:  # a config.json that does not read
    return None
  if ours:
    return _origin(name, passed)
  return True if Path(name).exists() else None


def _origin(name: str, passed: frozenset[str]) -> bool | None:
  """The same of a work directory or an export."""
  if name in passed:  # overwritten later, it may lead back to itself
    return False
  try:
    return _saw(_configuration(Path(name)), passed | {name})
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _configuration(directory: Path) -> dict[str, Any]:
  if exported.is_export(directory):
    return json.loads((directory / exported.TRAINING).read_text("utf-8"))
  return json.loads((directory / workdir.CONFIG).read_text("utf-8"))["config"]
