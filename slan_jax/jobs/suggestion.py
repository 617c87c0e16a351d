"""The fastest settings that fit: what is recomputed, microbatches, mesh."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from slan_jax.jobs.experiment import Experiment

Forecast = dict[str, Any]
# From the fastest to the most frugal. Each row needs less memory than the one
# above it, and takes longer: where one fits, those below need not be tried.
LADDER = (
  ("none", 1),
  ("dots", 1),
  ("full", 1),
  ("full", 2),
  ("full", 4),
  ("full", 8),
)


def settings(
  experiment: Experiment, devices: int
) -> Iterator[list[Experiment]]:
  """For each mesh the ladder of settings, the one of fewest fsdp first.

  Args:
    experiment: as configured.
    devices: of the topology.
  """
  # Half of them: TPUs scatter sums within a part of a slice only.
  some = (8, 64, devices // 2)
  sizes = {1, devices, *(n for n in some if n and not devices % n)}
  for fsdp in sorted(sizes):
    mesh = dataclasses.replace(experiment.mesh, data=devices // fsdp, fsdp=fsdp)
    rows = []
    for remat, parts in LADDER:
      local = experiment.batch_size // devices
      if parts > 1 and local % parts:
        continue
      model = dataclasses.replace(experiment.model, remat=remat)
      rows.append(
        dataclasses.replace(
          experiment, mesh=mesh, model=model, microbatches=parts
        )
      )
    yield rows


def suggest(
  experiment: Experiment,
  devices: int,
  plan: Callable[[Experiment], Forecast | None],
  say: Callable[[str], None],
) -> tuple[Experiment, Forecast] | None:
  """Tries settings until the fastest that fits is known.

  Args:
    experiment: as configured.
    devices: of the topology.
    plan: forecast of an experiment; None where its state alone does not fit.
    say: told of every trial.

  Returns:
    The fastest settings with their forecast; None when nothing fits.
  """
  best = None
  for ladder in settings(experiment, devices):
    for candidate in ladder:
      found = plan(candidate)
      if found is None:
        say(f"{describe(candidate)}: the state alone does not fit")
        break
      say(f"{describe(candidate)}: {_verdict(found)}")
      if found["fits"]:
        if best is None or _slowness(found) < _slowness(best[1]):
          best = candidate, found
        break
  return best


def describe(experiment: Experiment) -> str:
  """Settings as they are given on the command line."""
  return (
    f"--config.mesh.data={experiment.mesh.data} "
    f"--config.mesh.fsdp={experiment.mesh.fsdp} "
    f"--config.model.remat={experiment.model.remat} "
    f"--config.microbatches={experiment.microbatches}"
  )


def _slowness(found: Forecast) -> float:
  """Seconds of a step; where no chip is known, its arithmetic."""
  seconds = found["step_seconds"]
  return found["hardware_flops_per_step"] if seconds is None else seconds


def _verdict(found: Forecast) -> str:
  size = found["hbm_bytes_per_chip"] / 2**30
  if not found["fits"]:
    return f"needs {size:.1f} GiB, does not fit"
  if found["step_seconds"] is None:
    return f"fits, {size:.1f} GiB"
  return f"fits, {size:.1f} GiB, {1e3 * found['step_seconds']:.1f} ms"
