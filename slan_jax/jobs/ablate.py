"""`slan-ablate --tables 5,6 --seeds 3 --steps 200`: trains and compares rows.

Every row and seed is an ordinary run, trained, scored and drawn by the jobs of
this package as processes of their own. What is finished is not repeated.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType

from rich.console import Console

from slan_jax.evaluation import comparison
from slan_jax.evaluation.comparison import Row, Run, Table
from slan_jax.evaluation.comparison_pictures import draw_tables
from slan_jax.jobs import trials
from slan_jax.jobs.common import BAD_INPUT, EXPECTED, FALLS_SHORT
from slan_jax.jobs.crew import Crew
from slan_jax.jobs.trials import Request, Trial
from slan_jax.training.progress import duration

TABLES = "5,6,10,silences,locator"


def main(arguments: Sequence[str] | None = None) -> int:
  """Console script; returns the exit code.

  0 when every run is done; 2 for bad usage or input; 3 when runs failed, or
  are left because of the budget; 128 + signal when it was stopped.
  """
  options = parser().parse_args(arguments)
  request = Request(
    config=options.config,
    tables=tuple(options.tables.split(",")),
    seeds=options.seeds,
    output=options.output,
    steps=options.steps,
    data=options.data,
    detector=options.detector,
    alone=options.jobs == 1,
  )
  try:
    return ablate(request, options.jobs, options.budget)
  except EXPECTED as error:
    text = " ".join(str(error).split())
    print(f"slan-ablate: {text}", file=sys.stderr)
    return BAD_INPUT


def parser() -> argparse.ArgumentParser:
  """The command line."""
  made = argparse.ArgumentParser(
    prog="slan-ablate",
    description="Trains variants with several seeds and compares them.",
  )
  made.add_argument(
    "--tables",
    default=TABLES,
    help=f"tables, or rows as 5-frozen, with commas; default {TABLES}",
  )
  made.add_argument("--seeds", type=_positive, default=3, help="runs of a row")
  made.add_argument(
    "--steps", type=_positive, help="steps of a run; default: the row's own"
  )
  made.add_argument("--jobs", type=_positive, default=1, help="runs at a time")
  made.add_argument(
    "--budget", type=float, help="minutes after which no further run begins"
  )
  made.add_argument("--data", type=Path, help="directory of prepared scenes")
  made.add_argument(
    "--detector",
    type=Path,
    help="weights for the rows of table 9: a state dict of DETR, or an export",
  )
  made.add_argument("--output", type=Path, default=Path("runs/ablations"))
  made.add_argument(
    "--config", type=Path, default=Path("configs/ablations.py"), help="the rows"
  )
  return made


def _positive(text: str) -> int:
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
  return value


def ablate(request: Request, jobs: int, budget: float | None) -> int:
  """Runs what is missing, and writes the tables after every run.

  Args:
    request: what is to be compared.
    jobs: runs at a time.
    budget: minutes after which no further run begins; None = no end.

  Returns:
    Exit code, see `main`.
  """
  module, planned = trials.plan(request)
  deadline = None if budget is None else time.monotonic() + 60 * budget
  failures: dict[Path, str] = {}
  crew = Crew(request.output)

  def attempt(trial: Trial) -> None:
    late = deadline is not None and time.monotonic() >= deadline
    if late or crew.signal is not None:
      return
    if note := run_trial(trial, crew):
      failures[trial.directory] = note

  todo = {t.directory: t for t in planned if any(trials.remaining(t))}
  print(f"{len(todo)} runs to do, in {request.output / 'runs'}", flush=True)
  try:
    made = _write(request, module, planned, failures)
    with crew.listening(), ThreadPoolExecutor(jobs) as pool:
      futures = [pool.submit(attempt, trial) for trial in todo.values()]
      try:
        for future in as_completed(futures):
          future.result()
          made = _write(request, module, planned, failures)
      except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
  finally:
    crew.close()
  for table in made:
    Console().print(comparison.terminal_table(table))
  print(f"{request.output / 'table.md'}, {request.output / 'index.html'}")
  return _conclude(planned, failures, crew.signal)


def run_trial(trial: Trial, crew: Crew) -> str:
  """Does what a trial still needs.

  Returns:
    Why it failed; "" when it did not, or was told to stop.
  """
  log = trial.directory / trials.LOG
  try:
    log.parent.mkdir(parents=True, exist_ok=True)
    for what, command in trials.remaining(trial):
      _say(f"{trial.directory}: {what}")
      ended = crew.run(command, log)
      if ended is not None:
        trials.add_cost(trial.directory, ended.wall_seconds, ended.cpu_seconds)
      if crew.signal is not None:
        return ""
      if ended.code:
        _say(f"{trial.directory}: {what} failed, see {log}")
        return f"{what} ended with code {ended.code}, see {log}"
  except OSError as error:
    return f"{error}"
  return "" if trials.is_complete(trial) else f"left no scores, see {log}"


def _say(text: str) -> None:
  print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _write(
  request: Request,
  module: ModuleType,
  planned: Sequence[Trial],
  failures: dict[Path, str],
) -> list[dict]:
  """The tables as they stand, as files; returns them."""
  tables = _tables(module, planned, failures)
  about = {
    "steps": planned[0].experiment.total_steps,
    "seeds": request.seeds,
    "data": planned[0].experiment.data.dir,
  }
  made = comparison.write_tables(tables, about, request.output)
  draw_tables(tables, made, request.output)
  return made


def _tables(
  module: ModuleType, planned: Sequence[Trial], failures: dict[Path, str]
) -> list[Table]:
  runs: dict[str, dict[str, list[Run]]] = {}
  for trial in planned:
    table, _, row = trial.name.partition("-")
    runs.setdefault(table, {}).setdefault(row, []).append(
      _run(trial, failures.get(trial.directory, ""))
    )
  return [
    Table(
      table,
      module.TABLES[table].title,
      tuple(
        Row(row, module.TABLES[table].rows[row].tests, tuple(each))
        for row, each in rows.items()
      ),
    )
    for table, rows in runs.items()
  ]


def _run(trial: Trial, note: str) -> Run:
  done = trials.is_complete(trial)
  state = comparison.FAILED if note else comparison.WAITING
  return Run(
    seed=trial.experiment.seed,
    directory=trial.directory,
    state=comparison.DONE if done else state,
    note=note,
    **trials.read_cost(trial.directory),
  )


def _conclude(
  planned: Sequence[Trial], failures: dict[Path, str], signal: int | None
) -> int:
  """Says what is left; returns the exit code."""
  directories = {trial.directory: trial for trial in planned}
  left = sum(not trials.is_complete(t) for t in directories.values())
  spent = sum(trials.read_cost(d)["cpu_seconds"] for d in directories)
  print(f"{len(directories) - left} of {len(directories)} runs are done; "
        f"{duration(spent)} of CPU time in all")  # fmt: skip
  for directory, note in failures.items():
    print(f"failed: {directory}: {note}")
  if left:
    print("the same command goes on with what is left")
  if signal is not None:
    return 128 + signal
  return FALLS_SHORT if left or failures else 0


if __name__ == "__main__":
  sys.exit(main())
