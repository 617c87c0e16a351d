"""A plan for a slice of accelerators: one forecast, several, or the best."""

from typing import Any

import jax
from rich.console import Console

from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.forecast import forecast
from slan_jax.jobs.forecast_table import show
from slan_jax.jobs.programs import (
  bytes_per_device,
  evaluation_works,
  training_work,
)
from slan_jax.jobs.suggestion import describe, suggest
from slan_jax.jobs.topology import Topology
from slan_jax.jobs.vocabulary import complete
from slan_jax.tasks import budget
from slan_jax.training.sharding import make_mesh

Plan = dict[str, Any]


def plan_slice(
  experiment: Experiment,
  topology: Topology,
  task: str | None,
  console: Console,
  *,
  suggesting: bool,
) -> Plan:
  """Forecasts an experiment on devices that need not be here.

  Args:
    experiment: as configured.
    topology: the devices.
    task: an evaluation, or None for the training step.
    console: where the forecast is shown.
    suggesting: try settings of mesh and memory, for training.

  Returns:
    The keys of docs/CONTRACTS.md, `slan-plan --topology`.

  Raises:
    ValueError: an evaluation that cannot be planned, or settings asked of it.
  """
  experiment, encoder = complete(experiment)
  parameters = budget.parameters_by_part(
    experiment.model, experiment.objective, experiment.text.max_length
  )
  plan: Plan = {
    "total_parameters": sum(parameters.values()),
    "parameters": parameters,
  }
  if task and suggesting:
    raise ValueError("--suggest is for training: leave --task out")
  if task:
    return plan | _evaluation(task, experiment, encoder, topology, console)
  if suggesting:
    return plan | _suggested(experiment, encoder, topology, console)
  found = _training(experiment, encoder, topology)
  show(found, console)
  return plan | found


def _training(experiment, encoder, topology) -> Plan:
  mesh = make_mesh(experiment.mesh, topology.devices)
  with jax.set_mesh(mesh):
    return forecast(training_work(experiment, encoder, mesh), topology, mesh)


def _suggested(experiment, encoder, topology: Topology, console) -> Plan:
  def say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)

  best = suggest(
    experiment,
    len(topology.devices),
    lambda candidate: _if_it_may_fit(candidate, encoder, topology),
    say,
  )
  if best is None:
    say(f"Nothing that was tried fits {topology.name}")
    return {"fits": False}
  show(best[1], console)
  say(f"Fastest that fits: {describe(best[0])}")
  return {"suggested": describe(best[0])} | best[1]


def _if_it_may_fit(experiment, encoder, topology: Topology) -> Plan | None:
  """The forecast, or None where the state alone is too large to try."""
  mesh = make_mesh(experiment.mesh, topology.devices)
  with jax.set_mesh(mesh):
    work = training_work(experiment, encoder, mesh)
    if topology.chip and bytes_per_device(work.inputs) > topology.chip.memory:
      return None
    return forecast(work, topology, mesh)


def _evaluation(task, experiment, encoder, topology, console) -> Plan:
  """Every program of an evaluation under its name."""
  mesh = make_mesh(experiment.mesh, topology.devices)
  programs = {}
  with jax.set_mesh(mesh):
    for work in evaluation_works(task, experiment, encoder, mesh):
      programs[work.name] = found = forecast(work, topology, mesh)
      show(found, console)
  fits = all(found["fits"] for found in programs.values())
  return {"task": task, "fits": fits, "programs": programs}
