"""`slan-train --config FILE[:ARG] --workdir DIR [--config.key=value ...]`."""

import contextlib
import signal
import time
from pathlib import Path

import jax
from absl import flags
from etils import epath

from slan_jax.evaluation.cost import count_flops
from slan_jax.input.feed import global_batch, process_rows
from slan_jax.input.loader import Loader
from slan_jax.jobs import common, workdir
from slan_jax.jobs.catalog import make_task, row_maker, training_evaluation
from slan_jax.jobs.experiment import (
  Experiment,
  input_config,
  read_tokenizer,
  without_remat,
)
from slan_jax.jobs.programs import make_step
from slan_jax.jobs.start import Start, read_start
from slan_jax.training import loop, tools
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.log import Log
from slan_jax.training.optimizer import make_optimizer
from slan_jax.training.peak import peak_flops
from slan_jax.training.progress import Clock, Display
from slan_jax.training.sharding import check_batch, make_mesh
from slan_jax.training.state import abstract_state, init_state
from slan_jax.training.step import stage_of

_CONFIG = common.define_config()


def main() -> None:
  """Console script."""
  flags.mark_flags_as_required(["config", "workdir"])
  common.launch(
    lambda: train(
      common.experiment_of(_CONFIG.value), epath.Path(common.WORKDIR.value)
    )
  )


def train(experiment: Experiment, directory: Path) -> int:
  """Trains, or goes on with, the run of a work directory.

  Args:
    experiment: as configured.
    directory: home of the run.

  Returns:
    Exit code: 0 when the run is complete, 128 + signal when it was stopped.
  """
  common.use_cpu_devices(experiment.mesh.cpu_devices)
  mesh = make_mesh(experiment.mesh)
  check_batch(experiment.batch_size, mesh)
  experiment, encoder = read_tokenizer(experiment)
  workdir.check(directory, experiment)
  if summary := workdir.finished(directory, experiment):
    print(f"{directory} is complete: {workdir.describe(summary)}")
    return 0
  common.use_compilation_cache(experiment.compilation_cache)
  with jax.set_mesh(mesh):
    return _train(experiment, encoder, directory, mesh)


def _train(experiment, encoder, directory, mesh) -> int:
  options = experiment.optimizer
  task = make_task(experiment, encoder)
  optimizer = make_optimizer(options)
  ema = options.ema_decay > 0
  like = abstract_state(task, optimizer, ema=ema, mesh=mesh)
  step = make_step(experiment, task, like=like, mesh=mesh)
  checkpoints = Checkpoints(
    directory / workdir.CHECKPOINTS, keep=experiment.checkpoint.keep
  )
  state, host = checkpoints.restore_newest(like) or (None, {})
  host = tools.Host(**host)
  begin = Start()
  if state is None:
    begin = read_start(experiment, encoder, like.params)
  rows = process_rows(experiment.batch_size, mesh)
  loader = Loader(
    experiment.data.dir,
    input_config(experiment, rows),
    position=host.position,
    maker=row_maker(experiment),
  )
  if state is None:
    state = init_state(
      task, optimizer, seed=experiment.seed, ema=ema, mesh=mesh
    )
    state = state._replace(
      params=begin.graft(state.params),
      ema=begin.graft(state.ema) if ema else {},
    )
  start = int(state.step)
  display = Display(start, experiment.total_steps)
  if start:
    display.say(f"{directory}: going on from step {start}")
  for note in begin.notes:
    display.say(note)
  del begin  # its arrays live on in the state

  log = Log(directory, start or -1)
  evaluate = training_evaluation(
    experiment, encoder, task, mesh, directory, log
  )
  counted = step
  if experiment.model.remat != "none":  # what is computed twice counts once
    plain = make_task(without_remat(experiment), encoder)
    counted = make_step(experiment, plain, like=like, mesh=mesh)
  flops = [count_flops(counted.jaxpr(s)) for s in range(len(step.jitted))]
  clock = Clock(lambda n: flops[stage_of(n, task.stages)], peak_flops(mesh))
  began = time.perf_counter()
  display.say("Compiling the training step ...")
  step.compile(start)
  display.say(f"Compiled in {time.perf_counter() - began:.0f} s")
  if jax.process_index() == 0:
    workdir.write(directory, experiment)
  with contextlib.ExitStack() as resources:  # closes all, whatever fails
    for resource in (checkpoints, loader, log, display):
      resources.callback(resource.close)
    outcome = loop.run(
      state,
      loader,
      host,
      tools.Intervals(
        total_steps=experiment.total_steps,
        batch_size=experiment.batch_size,
        log_every=experiment.log.every_steps,
        save_every=experiment.checkpoint.every_steps,
        evaluate_every=experiment.evaluation.every_steps,
        max_skipped=options.max_skipped,
        max_rollbacks=options.max_rollbacks,
      ),
      tools.Tools(
        step=step,
        put=lambda rows: global_batch(
          {name: rows[name] for name in task.batch_spec}, mesh
        ),
        evaluate=evaluate,
        skipped=lambda: loader.skipped,
        checkpoints=checkpoints,
        log=log,
        clock=clock,
        display=display,
        sources=loader.counts,
      ),
    )
  if clock.steps:
    display.say(clock.describe(experiment.batch_size))
  for reason, names in loader.skipped_names.items():
    display.say(
      f"input: {loader.skipped[reason]} x {reason}: {', '.join(names)} ..."
    )
  return _conclude(directory, outcome, display)


def _conclude(directory, outcome, display: Display) -> int:
  """Says how the run ended; returns the exit code."""
  step = int(outcome.state.step)
  if outcome.signal is not None:
    name = signal.Signals(outcome.signal).name
    display.say(
      f"Stopped by {name} at step {step}, saved in {directory}; the same "
      "command goes on from there"
    )
    return 128 + outcome.signal
  summary = {
    "steps": step,
    "seconds": outcome.host.seconds,
    "skipped": outcome.host.skipped,
    "skipped_steps": int(outcome.state.skipped_total),
    "rollbacks": outcome.host.rollbacks,
  }
  if jax.process_index() == 0:
    workdir.finish(directory, summary)
  display.say(f"Trained {workdir.describe(summary)}")
  return 0


if __name__ == "__main__":
  main()
