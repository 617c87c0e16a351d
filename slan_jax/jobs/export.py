"""`slan-export --workdir DIR --output OUT`: a trained model for other tools."""

import argparse
import dataclasses
from pathlib import Path

from slan_jax.interop import export, exported, stablehlo
from slan_jax.interop import verify as beside
from slan_jax.interop.directory import written_whole
from slan_jax.interop.twin import read_twin
from slan_jax.jobs import common
from slan_jax.jobs.trained import check_model, open_run
from slan_jax.models.slan import Slan

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
  output = arguments.output
  worst = export_run(
    arguments.workdir,
    output,
    checkpoint=arguments.checkpoint,
    dtype=arguments.dtype,
    ema=arguments.ema,
    form=arguments.format,
    force=arguments.force,
    verify=arguments.verify,
  )
  print(f"{output}: {', '.join(sorted(p.name for p in output.iterdir()))}")
  exact = arguments.verify and arguments.dtype == "float32"
  return common.FALLS_SHORT if exact and worst > TOLERANCE else 0


def export_run(
  directory: Path,
  output: Path,
  *,
  checkpoint: str = "last",
  dtype: str = "float32",
  ema: bool = False,
  form: str = "safetensors",
  force: bool = False,
  verify: bool = False,
) -> float:
  """Writes an export; weights are read and written piece by piece.

  Args:
    directory: home of a run.
    output: directory to write; appears whole or not at all.
    checkpoint: step, "last" or "best".
    dtype: of the weights, "float32", "bfloat16" or "float16".
    ema: the averaged parameters.
    form: "safetensors" or "stablehlo".
    force: replace an earlier export.
    verify: compare with PyTorch and print the differences.

  Returns:
    The largest difference, relative to its size; 0 where nothing is compared.

  Raises:
    ValueError, InputError, OSError: bad input; nothing was written.
  """
  if verify and form != "safetensors":
    raise ValueError("--verify compares --format safetensors with PyTorch")
  if form == "stablehlo" and dtype != "float32":
    raise ValueError("--format stablehlo keeps float32; leave --dtype away")
  run = open_run(directory, checkpoint, dtype, ema)
  trained = run.trained
  check_model(trained)
  with written_whole(Path(output), force=force) as partial:
    export.write_companions(partial, trained, dtype)
    if form == "safetensors":
      export.write_weights(partial, trained, dtype, run.read)
    else:
      params = run.read(trained.params)
      stablehlo.write(partial, trained.model, params, trained.max_length)
  if not verify:
    return 0.0
  return compare(output, trained._replace(params=run.read(trained.params)))


def compare(output: Path, trained: export.Trained) -> float:
  """Runs both frameworks on the same inputs and prints the differences.

  Args:
    output: the export.
    trained: what it was made of.

  Returns:
    The largest one, relative to the size of its output.

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
  inputs = beside.sample_inputs(model, trained.max_length, trained.token_ids)
  ours = beside.outputs_of_jax(Slan(model), trained.params, *inputs)
  theirs = beside.outputs_of_torch(twin, *inputs)
  found = beside.differences(ours, theirs)
  for name, value in found.items():
    print(f"{name:>20} {value:.1e}")
  worst = max(found, key=found.__getitem__)
  print(f"largest: {found[worst]:.1e} of {worst}, relative to its size")
  return found[worst]


if __name__ == "__main__":
  main()
