"""`slan-plan --config FILE[:ARG] --params | --topology NAME [--output FILE]`.

`--params` counts; `--topology` compiles the training step, or with `--task`
the programs of an evaluation, for devices that need not be here.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags
from rich.console import Console
from rich.table import Table

from slan_jax.evaluation.cost import count_flops_by
from slan_jax.evaluation.files import write_atomically
from slan_jax.jobs import common
from slan_jax.jobs.catalog import SCORED
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.slice_plan import plan_slice
from slan_jax.jobs.topology import find_topology
from slan_jax.jobs.vocabulary import complete
from slan_jax.models.config import Backbone
from slan_jax.tasks import budget

PAPER_SIDE = 384  # pixels at which Table 7 counts FLOPs

_CONFIG = common.define_config()
_PARAMS = flags.DEFINE_bool(
  "params", False, "Count parameters and forward FLOPs by part."
)
_IMAGE_SIZE = flags.DEFINE_integer(
  "image_size",
  None,
  f"Pixels at which FLOPs are counted; None = {PAPER_SIDE}, or the multiple of "
  "the patch nearest to it.",
  lower_bound=1,
)
_TOPOLOGY = flags.DEFINE_string(
  "topology", None, "Devices to compile for: v5e:8x8, v5p:4x4x4, cpu:8."
)
_TASK = common.define_task(SCORED)
_SUGGEST = flags.DEFINE_bool(
  "suggest", False, "Find the fastest settings of mesh and memory that fit."
)
_MACHINE_CODE = flags.DEFINE_bool(
  "machine_code",
  False,
  "Wait until a TPU's machine code is made, which takes ten times as long: "
  "what it adds to the memory is counted then.",
)


def main() -> None:
  """Console script."""
  flags.mark_flags_as_required(["config"])
  common.launch(_from_flags)


def _from_flags() -> int:
  experiment = common.experiment_of(_CONFIG.value)
  console = Console()
  if _TOPOLOGY.value:
    topology = find_topology(_TOPOLOGY.value)
    plan = plan_slice(
      experiment,
      topology,
      _TASK.value,
      console,
      suggesting=_SUGGEST.value,
      machine_code=_MACHINE_CODE.value,
    )
  elif _PARAMS.value:
    plan = plan_params(experiment, _IMAGE_SIZE.value)
    console.print(_table(plan))
    console.print(_rule(plan))
  else:
    raise ValueError("nothing to plan: say --params or --topology=v5e:8x8")
  if common.OUTPUT.value:
    text = json.dumps(plan, indent=2) + "\n"
    write_atomically(Path(common.OUTPUT.value), text.encode())
  return 0 if plan.get("fits", True) else common.FALLS_SHORT


def plan_params(
  experiment: Experiment, image_size: int | None
) -> dict[str, Any]:
  """Counts parameters and forward FLOPs; nothing is computed or allocated.

  Args:
    experiment: as configured.
    image_size: pixels for the FLOPs; None = as `--image_size` says.

  Returns:
    The keys of docs/CONTRACTS.md, `slan-plan`.

  Raises:
    ValueError: an image size that is no multiple of the patch.
    InputError: the configured tokenizer cannot be loaded.
  """
  cfg = complete(experiment)[0].model
  side = choose_side(image_size, cfg.backbone)
  length = experiment.text.max_length
  parameters = budget.parameters_by_part(cfg, experiment.objective, length)
  program = budget.trace_pair(cfg, side, length)
  flops = count_flops_by(program, budget.PARTS, budget.REST)
  return {
    "backbone": cfg.backbone.name,
    "vocabulary": cfg.text.vocab_size,
    "total_parameters": sum(parameters.values()),
    "parameters": parameters,
    "image_size": side,
    "text_length": length,
    "flops_per_multiply_add": 2,
    "total_forward_flops": sum(flops.values()),
    "forward_flops": flops,
  }


def choose_side(wanted: int | None, backbone: Backbone) -> int:
  """Image side that an encoder can read: as wanted, or near the paper's.

  Raises:
    ValueError: the wanted one is no multiple of the encoder's stride.
  """
  stride = backbone.row.stride
  if wanted is None:
    return round(PAPER_SIDE / stride) * stride
  if wanted % stride:
    lower = wanted // stride * stride
    raise ValueError(
      f"--image_size={wanted} is no multiple of {stride}, the stride of "
      f"{backbone.name}; use for example {lower or stride} or {lower + stride}"
    )
  return wanted


def _rule(plan: dict[str, Any]) -> str:
  return (
    "FLOPs: one forward pass of every part for an image of "
    f"{plan['image_size']} px and a text of {plan['text_length']} tokens; "
    "products of matrices and convolutions, 2 per multiply-add. An EMA copy is "
    "not counted."
  )


def _table(plan: dict[str, Any]) -> Table:
  table = Table(title=f"{plan['backbone']}, {plan['vocabulary']:,} words")
  table.add_column("part")
  table.add_column("parameters, M", justify="right")
  table.add_column("GFLOPs", justify="right")
  parameters, flops = plan["parameters"], plan["forward_flops"]
  for part in dict.fromkeys([*parameters, *flops]):
    table.add_row(
      part.replace("_", " "),
      f"{parameters.get(part, 0) / 1e6:.3f}",
      f"{flops.get(part, 0) / 1e9:.2f}",
    )
  table.add_section()
  table.add_row(
    "total",
    f"{plan['total_parameters'] / 1e6:.3f}",
    f"{plan['total_forward_flops'] / 1e9:.2f}",
  )
  return table


if __name__ == "__main__":
  main()
