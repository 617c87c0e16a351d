"""Trials: the rows of ablation tables times seeds, a work directory each.

The rows stand in a file such as configs/ablations.py: `TABLES`, name -> table
with `title` and `rows`, name -> row with `tests` and `detector` (whether it
takes the path of one); and `get_config("TABLE-ROW,steps=N,detector=PATH")`.
"""

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.pictures import FOLDER as PICTURES
from slan_jax.evaluation.report import read_report
from slan_jax.jobs import workdir
from slan_jax.jobs.experiment import Experiment, read_tokenizer
from slan_jax.jobs.typed import to_dataclass

PYTHON = (sys.executable,)
TASKS = ("retrieval", "grounding")
LOG = "log.txt"
COST = "cost.json"


@dataclasses.dataclass(frozen=True)
class Request:
  """What is to be compared.

  Attributes:
    config: file of the rows.
    tables: "TABLE" or "TABLE-ROW" each.
    seeds: trials of every row, seeds 0, 1, ...
    output: directory of everything that comes of it.
    steps: length of the runs; None = the rows' own.
    data: prepared directory; None = the rows' own.
    detector: weights for the rows that start from a detector; None = none.
    alone: whether runs follow one another, so that each may use all cores.
  """

  config: Path
  tables: tuple[str, ...]
  seeds: int
  output: Path
  steps: int | None = None
  data: Path | None = None
  detector: Path | None = None
  alone: bool = True


class Trial(NamedTuple):
  """One run.

  Attributes:
    name: "TABLE-ROW" it was planned for.
    directory: its work directory: runs/TABLE-ROW/seed-S of the first row of
      the file that has this very configuration.
    arguments: of slan-train.
    experiment: complete.
  """

  name: str
  directory: Path
  arguments: tuple[str, ...]
  experiment: Experiment


def read_rows(path: Path) -> ModuleType:
  """Loads the file of the rows.

  Raises:
    ValueError: no such file, or it has no TABLES.
  """
  if not Path(path).is_file():
    raise ValueError(f"--config={path}: no such file; see --help")
  spec = importlib.util.spec_from_file_location("_rows", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "TABLES"):
    raise ValueError(f"--config={path}: it has no TABLES of rows")
  return module


def choose(tables: dict[str, Any], names: Sequence[str]) -> list[str]:
  """The "TABLE-ROW" of every table or row named, each once, in the order given.

  Raises:
    ValueError: an unknown name.
  """
  chosen: dict[str, None] = {}
  for name in names:
    table, _, row = name.partition("-")
    if table not in tables or (row and row not in tables[table].rows):
      known = tables[table].rows if table in tables else tables
      raise ValueError(
        f"--tables: unknown {name!r}; choose of "
        f"{', '.join(f'{table}-{k}' if table in tables else k for k in known)}"
      )
    rows = [row] if row else tables[table].rows
    chosen |= {f"{table}-{each}": None for each in rows}
  return list(chosen)


def plan(request: Request) -> tuple[ModuleType, list[Trial]]:
  """Every row's trials: all rows of one seed before the next seed.

  Nothing is run; but what the request asks for is read and checked.

  Returns:
    The rows' file, and the trials.

  Raises:
    ValueError: an unknown row, a value of the wrong type, a detector that is
      missing, or an output directory with other runs in it.
    InputError: data that cannot be read.
  """
  module = read_rows(request.config)
  chosen = choose(module.TABLES, request.tables)
  if request.detector is not None and not request.detector.exists():
    raise ValueError(
      f"--detector={request.detector}: no such file or directory"
    )
  bare = {name: _read(module, name, request) for name in chosen}
  homes: dict[Experiment, str] = {}
  for name in choose(module.TABLES, tuple(module.TABLES)):
    if _row(module, name).detector and request.detector is None:
      continue  # no row that could share its runs was chosen
    homes.setdefault(bare.get(name) or _read(module, name, request), name)
  complete = {name: read_tokenizer(bare[name])[0] for name in chosen}
  trials = []
  for seed in range(request.seeds):
    for name in chosen:
      directory = request.output / "runs" / homes[bare[name]] / f"seed-{seed}"
      experiment = dataclasses.replace(complete[name], seed=seed)
      workdir.check(directory, experiment)
      arguments = _arguments(module, name, request)
      arguments += (f"--workdir={directory}", f"--config.seed={seed}")
      trials.append(Trial(name, directory, arguments, experiment))
  return module, trials


def _row(module: ModuleType, name: str) -> Any:
  table, _, row = name.partition("-")
  return module.TABLES[table].rows[row]


def _argument(module: ModuleType, name: str, request: Request) -> str:
  """What stands behind the colon of --config FILE:ARGUMENT."""
  parts = [name]
  if request.steps is not None:
    parts.append(f"steps={request.steps}")
  if request.detector is not None and _row(module, name).detector:
    parts.append(f"detector={request.detector}")
  return ",".join(parts)


def _overrides(request: Request) -> dict[str, Any]:
  """What the request changes in every row."""
  cache = request.output / "compiled"
  values = {"compilation_cache": str(cache.absolute())}
  if request.data is not None:
    values["data.dir"] = str(request.data)
  if not request.alone:
    values["mesh.cpu_devices"] = 1
  return values


def _arguments(
  module: ModuleType, name: str, request: Request
) -> tuple[str, ...]:
  return (
    f"--config={request.config}:{_argument(module, name, request)}",
    *(f"--config.{key}={value}" for key, value in _overrides(request).items()),
  )


def _read(module: ModuleType, name: str, request: Request) -> Experiment:
  config = module.get_config(_argument(module, name, request))
  config.update_from_flattened_dict(_overrides(request))
  return to_dataclass(config.to_dict(), Experiment)


def remaining(trial: Trial) -> Iterator[tuple[str, list[str]]]:
  """The jobs that a trial still needs: what each does, and its command.

  What comes behind a job is looked for when it has ended.
  """
  directory = trial.directory
  if not workdir.finished(directory, trial.experiment):
    yield "training", [*PYTHON, "-m", "slan_jax.jobs.train", *trial.arguments]
  # The largest gallery tells rows apart best.
  size = max(trial.experiment.evaluation.galleries)
  for task in TASKS:
    if not scored(trial, task):
      yield (
        f"scoring {task}",
        [
          *(*PYTHON, "-m", "slan_jax.jobs.evaluate", f"--workdir={directory}"),
          *(f"--task={task}", f"--output={directory / 'eval' / task}"),
          *(f"--gallery={size}", "--nountrained"),
        ],
      )
  if not (directory / PICTURES / "index.html").exists():
    job = ("-m", "slan_jax.jobs.report", f"--workdir={directory}")
    yield "drawing", [*PYTHON, *job]


def scored(trial: Trial, task: str) -> bool:
  """Whether the scores of the finished run are there."""
  try:
    found = read_report(trial.directory / "eval" / task / "metrics.json")
  except (FileNotFoundError, ValueError):
    return False
  return found["checkpoint_step"] == trial.experiment.total_steps


def is_complete(trial: Trial) -> bool:
  """Whether nothing but pictures may be missing."""
  done = workdir.finished(trial.directory, trial.experiment) is not None
  return done and all(scored(trial, task) for task in TASKS)


def read_cost(directory: Path) -> dict[str, float]:
  """Seconds that a trial took so far; zeros when it has not begun."""
  try:
    return json.loads((directory / COST).read_text())
  except (FileNotFoundError, ValueError):
    return {"wall_seconds": 0.0, "cpu_seconds": 0.0}


def add_cost(directory: Path, wall_seconds: float, cpu_seconds: float) -> None:
  """Adds what a job of the trial took."""
  cost = read_cost(directory)
  cost["wall_seconds"] += wall_seconds
  cost["cpu_seconds"] += cpu_seconds
  write_atomically(directory / COST, (json.dumps(cost) + "\n").encode())
