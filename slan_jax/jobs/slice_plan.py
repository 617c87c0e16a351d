"""A plan for a slice of accelerators: one forecast, several, or the best."""

import functools
from typing import Any

import jax
from rich.console import Console

from slan_jax.jobs.apart import call_apart
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.forecast import forecast
from slan_jax.jobs.forecast_table import show
from slan_jax.jobs.programs import (
  bytes_per_device,
  evaluation_works,
  training_work,
)
from slan_jax.jobs.suggestion import describe, suggest
from slan_jax.jobs.topology import Topology, find_topology
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
  machine_code: bool = False,
) -> Plan:
  """Forecasts an experiment on devices that need not be here.

  Args:
    experiment: as configured.
    topology: the devices.
    task: an evaluation, or None for the training step.
    console: where the forecast is shown.
    suggesting: try settings of mesh and memory, for training.
    machine_code: wait for that of a TPU.

  Returns:
    The keys of docs/CONTRACTS.md, `slan-plan --topology`.

  Raises:
    ValueError: an evaluation that cannot be planned, or settings asked of it.
  """
  known = complete(experiment)[0]
  parameters = budget.parameters_by_part(
    known.model, known.objective, known.text.max_length
  )
  plan: Plan = {
    "total_parameters": sum(parameters.values()),
    "parameters": parameters,
  }
  if task and suggesting:
    raise ValueError("--suggest is for training: leave --task out")
  forecasts = functools.partial(_forecasts, topology, machine_code)
  if suggesting:
    found = _suggested(experiment, len(topology.devices), forecasts, console)
    return plan | (found or {"fits": False})  # None: not even the state does
  found = forecasts(experiment, task)
  for program in found:
    show(program, console)
  if not task:
    return plan | found[0]
  fits = all(program["fits"] for program in found)
  programs = {program["program"]: program for program in found}
  return plan | {"task": task, "fits": fits, "programs": programs}


def _suggested(experiment, devices: int, forecasts, console) -> Plan | None:
  def say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)

  tried: list[Plan] = []

  def plan(candidate: Experiment) -> Plan | None:
    found = forecasts(candidate, roomy=True)
    tried.extend(found)
    return next(iter(found), None)

  best = suggest(experiment, devices, plan, say)
  if best is None:
    if tried:  # the most frugal of the last mesh
      show(tried[-1], console)
    say("Nothing that was tried fits")
    return tried[-1] if tried else None
  show(best[1], console)
  say(f"Fastest that fits: {describe(best[0])}")
  return {"suggested": describe(best[0])} | best[1]


def _forecasts(
  topology: Topology,
  machine_code: bool,
  experiment: Experiment,
  task: str | None = None,
  *,
  roomy: bool = False,
) -> list[Plan]:
  """As `_read`; for a TPU in a process that takes its compilation along."""
  options = task, roomy, machine_code
  if topology.chip is None:
    return _read(experiment, topology, *options)[0]
  found, count = [], 1
  while len(found) < count:
    part = slice(len(found), len(found) + 1)
    one, count = call_apart(
      _read_named, experiment, topology.name, *options, part
    )
    found += one
  return found


def _read_named(experiment, name: str, *options) -> tuple[list[Plan], int]:
  return _read(experiment, find_topology(name), *options)


def _read(
  experiment: Experiment,
  topology: Topology,
  task: str | None,
  roomy: bool,
  machine_code: bool,
  part: slice = slice(None),
) -> tuple[list[Plan], int]:
  """Forecasts of the training step, or of an evaluation's programs.

  Args:
    experiment: as configured.
    topology: the devices.
    task: an evaluation, or None.
    roomy: leave out a program whose inputs alone do not fit.
    machine_code: wait for that of a TPU.
    part: of the programs.

  Returns:
    A forecast of each, and how many programs there are.
  """
  experiment, encoder = complete(experiment)
  mesh = make_mesh(experiment.mesh, topology.devices)
  with jax.set_mesh(mesh):
    works = (
      evaluation_works(task, experiment, encoder, mesh)
      if task
      else [training_work(experiment, encoder, mesh)]
    )
    if roomy and topology.chip:
      most = topology.chip.memory
      works = [work for work in works if bytes_per_device(work.inputs) <= most]
    found = [
      forecast(work, topology, mesh, machine_code=machine_code)
      for work in works[part]
    ]
    return found, len(works)
