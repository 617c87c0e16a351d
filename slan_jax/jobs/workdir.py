"""A work directory belongs to one configuration, kept in its config.json."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from etils import epath

from slan_jax.evaluation.files import write_atomically
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import ConfigError, flatten, to_dataclass
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.progress import duration

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"
# Keys, or sections, that change how a run is carried out but not what it is.
RUNTIME = (
  "checkpoint",
  "compilation_cache",
  "data.prefetch",
  "data.threads",
  "evaluation.batch_size",
  "evaluation.cache_bytes",
  "evaluation.every_steps",
  "evaluation.pair_batch_size",
  "log",
  "mesh",
  "microbatches",
  "model.remat",
  "optimizer.max_rollbacks",
)


class WorkdirError(ValueError):
  """A work directory is another run's, or is none at all."""


def identity(experiment: Experiment) -> dict[str, Any]:
  """Flat keys and values that make a run what it is."""
  flat = flatten(dataclasses.asdict(experiment))
  return {
    key: value
    for key, value in sorted(flat.items())
    if not any(key == run or key.startswith(run + ".") for run in RUNTIME)
  }


def config_hash(experiment: Experiment) -> str:
  """Sixteen hexadecimal digits of a run's identity."""
  text = json.dumps(identity(experiment), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def check(workdir: Path, experiment: Experiment) -> None:
  """Raises WorkdirError when the directory holds another configuration's run.

  A run without a checkpoint left nothing to protect.

  Args:
    workdir: may be missing.
    experiment: complete, as `write` will keep it.
  """
  workdir = epath.Path(workdir)
  if not any((workdir / CHECKPOINTS).glob("[0-9]*")):
    return
  if not (workdir / CONFIG).exists():
    raise WorkdirError(
      f"{workdir} holds checkpoints but no {CONFIG}, so they cannot be told "
      "from another run's. Choose another --workdir, or remove this one"
    )
  there, here = identity(read(workdir)), identity(experiment)
  different = [key for key in here if here[key] != there.get(key)]
  if different:
    shown = "; ".join(
      f"{key} is {there.get(key)!r} there, {here[key]!r} here"
      for key in different[:8]
    )
    more = f" and {len(different) - 8} more" if len(different) > 8 else ""
    raise WorkdirError(
      f"{workdir} holds the run of another configuration: {shown}{more}. "
      "Choose another --workdir, or remove this one"
    )


def write(workdir: Path, experiment: Experiment) -> None:
  """Keeps the configuration for this run's later jobs."""
  values = dataclasses.asdict(experiment)
  record = {"hash": config_hash(experiment), "config": values}
  text = json.dumps(record, indent=2) + "\n"
  write_atomically(epath.Path(workdir) / CONFIG, text.encode())


def read(workdir: Path) -> Experiment:
  """The configuration of a run.

  Raises:
    WorkdirError: no run, or a config.json that does not read.
  """
  path = epath.Path(workdir) / CONFIG
  try:
    return to_dataclass(json.loads(path.read_text())["config"], Experiment)
  except FileNotFoundError:
    raise WorkdirError(
      f"{workdir} is not the work directory of a run: it has no {CONFIG}"
    ) from None
  except ConfigError as error:
    raise WorkdirError(f"{path}: {error}") from error
  except (ValueError, KeyError, TypeError) as error:
    raise WorkdirError(f"{path} is damaged ({error!r})") from error


def open_checkpoints(directory: Path) -> Checkpoints:
  """The checkpoints of a run.

  Raises:
    WorkdirError: there are none.
  """
  checkpoints = Checkpoints(epath.Path(directory) / CHECKPOINTS, read_only=True)
  if not checkpoints.steps():
    raise WorkdirError(
      f"{directory} has no checkpoint yet; train first (slan-train)"
    )
  return checkpoints


def choose_step(checkpoints: Checkpoints, name: str) -> int:
  """Step that "last", "best" or a number names.

  Raises:
    ValueError: none of these, or no such checkpoint.
  """
  steps = checkpoints.steps()
  if name == "last":
    return steps[-1]
  if name == "best":
    best = checkpoints.best()
    if best is None:
      raise ValueError(
        "checkpoint=best: no checkpoint was scored during training; set "
        "evaluation.every_steps, or choose one of the steps "
        f"{', '.join(map(str, steps))}"
      )
    return best
  if not name.isdigit() or int(name) not in steps:
    raise ValueError(
      f"checkpoint={name}: choose `last`, `best` or one of the steps "
      f"{', '.join(map(str, steps))}"
    )
  return int(name)


def describe(summary: dict[str, Any]) -> str:
  """A summary in a line."""
  faults = ", ".join(f"{n} {why}" for why, n in summary["skipped"].items())
  return (
    f"{summary['steps']} steps in {duration(summary['seconds'])}; not finite "
    f"and skipped: {summary['skipped_steps']}; input faults: {faults or 'none'}"
  )


def finished(workdir: Path, experiment: Experiment) -> dict[str, Any] | None:
  """The summary of a run that reached its last step, or None."""
  try:
    summary = json.loads((epath.Path(workdir) / SUMMARY).read_text())
    done = summary["steps"] == experiment.total_steps
  except (FileNotFoundError, ValueError, KeyError, TypeError):
    return None
  last = epath.Path(workdir) / CHECKPOINTS / str(experiment.total_steps)
  return summary if done and last.is_dir() else None


def finish(workdir: Path, summary: dict[str, Any]) -> None:
  """Notes that the run reached its last step."""
  text = json.dumps(summary, indent=2) + "\n"
  write_atomically(epath.Path(workdir) / SUMMARY, text.encode())
