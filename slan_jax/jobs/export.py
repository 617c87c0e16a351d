"""`slan-export --workdir DIR --output OUT`: a trained model for other tools."""

import argparse
import dataclasses
import json
from pathlib import Path

import jax

from slan_jax.evaluation.report import read_report
from slan_jax.interop import export, exported, stablehlo, verify
from slan_jax.interop.card import model_card
from slan_jax.interop.directory import written_whole
from slan_jax.interop.twin import read_twin
from slan_jax.jobs import common, evaluate, workdir
from slan_jax.jobs.experiment import make_task, read_tokenizer
from slan_jax.models.slan import Slan
from slan_jax.training.sharding import make_mesh
from slan_jax.training.state import abstract_params

# Largest difference between the frameworks, over the largest value.
TOLERANCE = 1e-4


def main() -> None:
  """Console script."""
  common.launch_parsed(_parser(), _from_arguments)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "slan-export", description="Writes a trained model for other tools."
  )
  add = parser.add_argument
  add("--workdir", type=Path, required=True, help="home of the run")
  add("--output", type=Path, required=True, help="directory to write")
  add("--checkpoint", default="last", help="step, or `last`, or `best`")
  add("--dtype", choices=exported.DTYPES, default="float32")
  add("--format", choices=("safetensors", "stablehlo"), default="safetensors")
  add("--ema", action="store_true", help="the averaged parameters")
  add("--force", action="store_true", help="replace an earlier export")
  add("--verify", action="store_true", help="compare with PyTorch")
  add("--debug", action="store_true", help="show where an error comes from")
  return parser


def _from_arguments(arguments: argparse.Namespace) -> int:
  if arguments.verify and arguments.format != "safetensors":
    raise ValueError("--verify compares --format safetensors with PyTorch")
  if arguments.format == "stablehlo" and arguments.dtype != "float32":
    raise ValueError("--format stablehlo keeps float32; leave --dtype away")
  trained = read_run(
    arguments.workdir, arguments.checkpoint, arguments.dtype, arguments.ema
  )
  output = arguments.output
  with written_whole(output, force=arguments.force) as partial:
    export.write_companions(partial, trained, arguments.dtype)
    if arguments.format == "safetensors":
      export.write_weights(partial, trained, arguments.dtype)
    else:
      model, params = trained.model, trained.params
      stablehlo.write(partial, model, params, trained.max_length)
  print(f"{output}: {', '.join(sorted(p.name for p in output.iterdir()))}")
  return compare(output, trained) if arguments.verify else 0


def read_run(
  directory: Path, checkpoint: str, dtype: str, ema: bool
) -> export.Trained:
  """What a work directory has to export.

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
  common.use_cpu_devices(experiment.mesh.cpu_devices)
  checkpoints = evaluate.open_checkpoints(directory)
  step = evaluate.choose_step(checkpoints, checkpoint)
  config_hash = workdir.config_hash(experiment)
  experiment, encoder = read_tokenizer(experiment)
  mesh = make_mesh(evaluate.evaluation_mesh(experiment))
  like = abstract_params(make_task(experiment, encoder), mesh)
  part = "ema" if ema else "params"
  params = jax.device_get(checkpoints.restore_part(step, part, like))
  training = json.loads(json.dumps(dataclasses.asdict(experiment)))
  paths = sorted(Path(directory).glob("eval/*/metrics.json"), reverse=True)
  return export.Trained(
    model=experiment.model,
    params=params,
    tokenizer=encoder.to_json(),
    token_ids={
      name: getattr(encoder, f"{name}_id")
      for name in ("pad", "unk", "cls", "sep", "mask")
    },
    max_length=experiment.text.max_length,
    captions=experiment.objective.lm > 0,
    card=model_card(
      training,
      [read_report(path) for path in paths],
      step=step,
      config_hash=config_hash,
      parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
      dtype=dtype,
    ),
    training=training,
  )


def compare(output: Path, trained: export.Trained) -> int:
  """Runs both frameworks on the same inputs and prints the differences.

  Args:
    output: the export.
    trained: what it was made of.

  Returns:
    Exit code: 3 when a float32 export differs.

  Raises:
    ValueError: torch is not installed.
  """
  try:
    twin = read_twin(output)
  except ImportError as error:
    raise ValueError(
      "--verify needs torch: pip install slan_jax[torch]"
    ) from error
  model = dataclasses.replace(trained.model, compute_dtype="float32")
  inputs = verify.sample_inputs(model, trained.max_length, trained.token_ids)
  ours = verify.outputs_of_jax(Slan(model), trained.params, *inputs)
  theirs = verify.outputs_of_torch(twin, *inputs)
  found = verify.differences(ours, theirs)
  for name, value in found.items():
    print(f"{name:>20} {value:.1e}")
  worst = max(found, key=found.__getitem__)
  print(f"largest: {found[worst]:.1e} of {worst}, relative to its size")
  exact = exported.read_config(output)["dtype"] == "float32"
  return common.FALLS_SHORT if exact and found[worst] > TOLERANCE else 0
