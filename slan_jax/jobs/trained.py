"""What a work directory has trained: its model, read whole or in parts."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from slan_jax.evaluation.report import read_report
from slan_jax.interop import export, exported, load
from slan_jax.interop.card import model_card, writes_captions
from slan_jax.interop.convert import flatten, nested
from slan_jax.jobs import workdir
from slan_jax.jobs.experiment import caption_prompt, read_tokenizer
from slan_jax.jobs.lineage import saw_boxes
from slan_jax.training.checkpoint import Checkpoints

Tree = Any


class Run(NamedTuple):
  """A checkpoint of a work directory.

  Attributes:
    trained: the model, with shapes for parameters.
    read: gives the arrays of these parameters, or of a part of them.
    step: of the checkpoint.
  """

  trained: export.Trained
  read: Callable[[Tree], Tree]
  step: int


def open_run(
  directory: Path, checkpoint: str, dtype: str, ema: bool = False
) -> Run:
  """Looks into a work directory without reading a parameter.

  Args:
    directory: home of a run.
    checkpoint: step, "last" or "best".
    dtype: of the weights to come, for the model card.
    ema: the averaged parameters instead of the last ones.

  Raises:
    WorkdirError, InputError, ValueError: no run, no tokenizer, no such step,
      or no averaged parameters.
  """
  experiment = workdir.read(directory)
  if ema and not experiment.optimizer.ema_decay:
    raise ValueError(
      f"--ema: the run of {directory} kept no average (optimizer.ema_decay=0)"
    )
  checkpoints = workdir.open_checkpoints(directory)
  step = workdir.choose_step(checkpoints, checkpoint)
  config_hash = workdir.config_hash(experiment)
  experiment, encoder = read_tokenizer(experiment)
  part = "ema" if ema else "params"
  shapes = _shapes(checkpoints, step, part)
  # What a downstream task adds under its own name is no part of an export; how
  # to localise is, which two tasks share.
  shapes.pop(experiment.task, None)
  training = json.loads(json.dumps(dataclasses.asdict(experiment)))
  paths = sorted(Path(directory).glob("eval/*/metrics.json"), reverse=True)
  trained = export.Trained(
    model=experiment.model,
    params=shapes,
    tokenizer=encoder.to_json(),
    token_ids=encoder.token_ids(),
    max_length=experiment.text.max_length,
    captions=writes_captions(experiment.task, experiment.objective.lm),
    card=model_card(
      training,
      [read_report(path) for path in paths],
      boxes=saw_boxes(training),
      step=step,
      config_hash=config_hash,
      parameters=sum(leaf.size for leaf in jax.tree.leaves(shapes)),
      dtype=dtype,
    ),
    training=training,
    calibration=_calibration(directory, step, part),
    prompt=caption_prompt(experiment.task, experiment.captioning, encoder),
  )

  def read(like: Tree) -> Tree:
    return jax.device_get(checkpoints.restore_part(step, part, like))

  return Run(trained, read, step)


def read_run(
  directory: Path, checkpoint: str, dtype: str = "float32", ema: bool = False
) -> export.Trained:
  """The same with all its parameters; see `open_run`."""
  run = open_run(directory, checkpoint, dtype, ema)
  return run.trained._replace(params=run.read(run.trained.params))


def check_model(trained: export.Trained) -> None:
  """Holds the parameters to the configured model, which takes some seconds.

  Args:
    trained: of `open_run`.

  Raises:
    ValueError: they are of another one, as when its code has changed.
  """
  model = exported.params_template(trained.model, ())["slan"]
  wanted, found = flatten(model), flatten(trained.params["slan"])
  for name in sorted(wanted.keys() | found.keys()):
    here, there = (
      tuple(arrays[name].shape) if name in arrays else "missing"
      for arrays in (wanted, found)
    )
    if here != there:
      raise ValueError(
        f"the run is of another model, perhaps of an earlier version: {name} "
        f"is {there} in its checkpoint and {here} by its config.json"
      )


def _shapes(checkpoints: Checkpoints, step: int, part: str) -> Tree:
  """Parameters as a checkpoint holds them, for the memory of this host.

  It knows its own arrays: tracing the model to learn them takes a second.
  """
  (device, *_) = jax.local_devices(backend="cpu")
  here = jax.sharding.SingleDeviceSharding(device)
  return nested(
    {
      name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
      for name, leaf in checkpoints.shapes(step, part).items()
    }
  )


def _calibration(
  directory: Path, step: int, part: str
) -> dict[str, Any] | None:
  """What slan-calibrate left for just these parameters."""
  path = Path(directory) / export.CALIBRATION
  if not path.exists():
    return None
  found = load.read_json(path)
  return (
    found if (found.get("step"), found.get("part")) == (step, part) else None
  )
