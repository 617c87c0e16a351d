"""The training loop: evaluate the old state, save, only then take new data.

A checkpoint and its data position therefore always agree, and a run of N steps
equals a run of k, a restart and N - k more, bit for bit.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.errors import NonFiniteError
from slan_jax.training.log import Averages, Log
from slan_jax.training.progress import Clock, Display
from slan_jax.training.state import TrainState
from slan_jax.training.stop import Stop, listening

Tree = Any
LOG = logging.getLogger(__name__)


class Intervals(NamedTuple):
  """How long a run is and how often it does what.

  Attributes:
    total_steps: optimiser steps of the run.
    batch_size: examples per step over all devices.
    log_every: steps between log lines.
    save_every: steps between checkpoints.
    evaluate_every: steps between evaluations; 0 = never.
    max_skipped: non-finite steps in a row that end the run.
  """

  total_steps: int
  batch_size: int
  log_every: int
  save_every: int
  evaluate_every: int
  max_skipped: int


class Tools(NamedTuple):
  """What the loop works with.

  Attributes:
    step: (state, batch, number) -> (state, metrics); number counts from 0.
    put: host batch -> global arrays.
    evaluate: (state, step) -> the score that decides the best checkpoint, or
      None; writes its own records.
    skipped: -> reason -> records that the input passed over or cut so far.
    checkpoints: where the state is saved.
    log: where metrics are written.
    clock: measures speed.
    display: shows progress.
    sources: (step, skipped) -> what each source of the data gave so far, for
      the log.
  """

  step: Callable[[TrainState, Tree, int], tuple[TrainState, Tree]]
  put: Callable[[Tree], Tree]
  evaluate: Callable[[TrainState, int], float | None]
  skipped: Callable[[], Mapping[str, int]]
  checkpoints: Checkpoints
  log: Log
  clock: Clock
  display: Display
  sources: Callable[[int, Mapping[str, int]], Mapping[str, float]]


@dataclasses.dataclass
class Host:
  """What the host counts; saved with every checkpoint.

  Attributes:
    position: global batches that the input has handed out.
    evaluated: last step that was evaluated; -1 = none.
    averages: sums and counts since the last log line.
    skipped: reason -> records that the input passed over or cut.
    seconds: time spent training, of all processes of the run so far.
  """

  position: int = 0
  evaluated: int = -1
  averages: dict[str, list[float]] = dataclasses.field(default_factory=dict)
  skipped: dict[str, int] = dataclasses.field(default_factory=dict)
  seconds: float = 0.0


class Outcome(NamedTuple):
  """How a run ended.

  Attributes:
    state: the last state.
    host: the host's counts beside it.
    signal: number of the signal that stopped it, or None when it is complete.
  """

  state: TrainState
  host: Host
  signal: int | None


def run(
  state: TrainState,
  batches: Iterator[Tree],
  host: Host,
  intervals: Intervals,
  tools: Tools,
) -> Outcome:
  """Trains until the last step or until a signal asks to stop.

  Args:
    state: new or restored; consumed.
    batches: host batches from `host.position` on.
    host: counts that belong to the state.
    intervals: when to do what.
    tools: what to do it with.

  Returns:
    The outcome; everything is saved.

  Raises:
    NonFiniteError: the loss stays not finite; the last checkpoint is kept.
  """
  with listening() as stop:
    return _Loop(state, host, intervals, tools, stop).run(batches)


class _Loop:
  """One call of `run`."""

  def __init__(self, state, host, intervals, tools, stop: Stop):
    self.state, self.host, self.stop = state, host, stop
    self.every, self.tools = intervals, tools
    self.done = int(state.step)  # steps behind `state`
    self.saved = self.done  # a new state can be made again at any time
    self.averages = Averages(host.averages)
    self.earlier = (dict(host.skipped), host.seconds)
    self.pending: tuple[int, Tree] | None = None

  def run(self, batches: Iterator[Tree]) -> Outcome:
    """Evaluate, save, take data, step; see `run` of the module."""
    while True:
      stopped = self.stop.asked(self.done, self.every.log_every)
      if not stopped:
        self.evaluate()
      last = self.done >= self.every.total_steps
      if stopped or last or self.done % self.every.save_every == 0:
        self.save()
      if stopped or last:
        break
      self.step(batches)
    self.tools.checkpoints.wait()
    return Outcome(self.state, self.host, self.stop.signal if stopped else None)

  def evaluate(self) -> None:
    """Scores the state when it is due and was not scored before."""
    every = self.every.evaluate_every
    due = every and (
      self.done % every == 0 or self.done >= self.every.total_steps
    )
    if not due or self.host.evaluated == self.done:
      return
    self.flush()
    score = self.tools.evaluate(self.state, self.done)
    self.host.evaluated = self.done
    if self.done:
      # Saved beside its score, so that the best step can be kept.
      if score is not None:
        self.tools.checkpoints.record_score(self.done, score)
      self.save()

  def save(self) -> None:
    """Saves the state unless that was done."""
    if self.saved == self.done:
      return
    self.flush()
    self.count_input()
    self.host.averages = self.averages.totals
    self.tools.checkpoints.save(self.state, dataclasses.asdict(self.host))
    self.saved = self.done

  def step(self, batches: Iterator[Tree]) -> None:
    """Takes one step and looks at the metrics of the one before."""
    begin = time.perf_counter()
    batch = self.tools.put(next(batches))
    ready = time.perf_counter()
    self.state, metrics = self.tools.step(self.state, batch, self.done)
    pending, self.pending = self.pending, (self.done + 1, metrics)
    values = jax.device_get(pending[1]) if pending else None
    fetched = time.perf_counter()
    if pending:
      self.record(pending[0], values)
    self.done += 1
    self.host.position += 1
    self.tools.display.advance()
    end = time.perf_counter()
    if pending:
      # The first step of a process fills the pipeline: it is not timed.
      host = (ready - begin) + (end - fetched)
      self.tools.clock.add(self.done - 1, end - begin, host)

  def flush(self) -> None:
    """Looks at the metrics of the last step now."""
    if self.pending:
      step, metrics = self.pending
      self.pending = None
      self.record(step, jax.device_get(metrics))

  def record(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Averages the metrics of one step; at the interval's end writes them."""
    skipped = int(metrics["skipped_in_a_row"][0])
    if skipped:
      self.check_finite(step, skipped)
    self.averages.add(metrics)
    if step % self.every.log_every == 0 or step == self.every.total_steps:
      values = self.averages.take()
      values |= self.tools.clock.interval(self.every.batch_size)
      self.count_input()
      if self.host.skipped:
        values["input_faults"] = sum(self.host.skipped.values())
      values |= self.tools.sources(step, self.host.skipped)
      self.tools.log.training(step, values)
      self.tools.display.show(step, values)

  def count_input(self) -> None:
    """Adds this process's skips and seconds to those of earlier ones."""
    skipped, seconds = self.earlier
    self.host.seconds = seconds + self.tools.clock.seconds
    self.host.skipped = dict(skipped)
    for reason, count in self.tools.skipped().items():
      total = self.host.skipped.get(reason, 0) + count
      if total:
        self.host.skipped[reason] = total

  def check_finite(self, step: int, skipped: int) -> None:
    """Warns of the first skipped step; gives up after too many."""
    if skipped == 1:
      LOG.warning(
        "step %d: loss or gradient is not finite; the update is skipped", step
      )
    if skipped >= self.every.max_skipped:
      kept = self.tools.checkpoints.steps()
      kept = f"checkpoint {kept[-1]} is kept" if kept else "nothing was saved"
      raise NonFiniteError(
        f"loss or gradient was not finite in {skipped} steps in a row, up to "
        f"step {step}; {kept}. Lower optimizer.learning_rate or look for "
        "broken data, then start again to go on from there"
      )
