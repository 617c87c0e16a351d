"""The training loop: evaluate the old state, save, only then take new data.

A checkpoint and its data position therefore always agree, and a run of N steps
equals a run of k, a restart and N - k more, bit for bit.

When the loss stays not finite, the run goes back to the last good checkpoint
and on from there with the data that follow the failure: the same data would
fail the same way.
"""

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from slan_jax.training.errors import NonFiniteError
from slan_jax.training.log import Averages
from slan_jax.training.state import TrainState, shapes
from slan_jax.training.stop import Stop, listening
from slan_jax.training.streak import Streak
from slan_jax.training.tools import Host, Intervals, Outcome, Tools

Tree = Any
LOG = logging.getLogger(__name__)


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
    NonFiniteError: the loss stays not finite, also after going back; the last
      checkpoint is kept.
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
    length = int(state.skipped_in_a_row)
    self.streak = Streak(intervals.max_skipped, self.done, length)

  def run(self, batches: Iterator[Tree]) -> Outcome:
    """Evaluate, save, take data, step; see `run` of the module."""
    while True:
      if self.streak.failed:
        self.roll_back(batches)
      stopped = self.asked()
      if not stopped:
        self.evaluate()
      end = stopped or self.done >= self.every.total_steps
      if end or self.done % self.every.save_every == 0:
        self.save(anyhow=end)
      if stopped or (end and not self.streak.failed):
        break
      if not self.streak.failed:
        self.step(batches)
    self.tools.checkpoints.wait()
    return Outcome(self.state, self.host, self.stop.signal if stopped else None)

  def asked(self) -> bool:
    """Whether to stop now; several processes wait for their devices here."""
    begin = time.perf_counter()
    stopped = self.stop.asked(self.done)
    self.tools.clock.add_wait(time.perf_counter() - begin)
    return stopped

  def evaluate(self) -> None:
    """Scores the state when it is due and was not scored before."""
    every = self.every.evaluate_every
    due = every and (
      self.done % every == 0 or self.done >= self.every.total_steps
    )
    if not due or self.host.evaluated == self.done:
      return
    self.flush()
    if self.streak.failed:
      return
    score = self.tools.evaluate(self.state, self.done)
    self.host.evaluated = self.done
    if self.done:
      # Saved beside its score, so that the best step can be kept.
      if score is not None:
        self.tools.checkpoints.record_score(self.done, score)
      self.save()

  def save(self, *, anyhow: bool = False) -> None:
    """Saves the state unless that was done; `anyhow` also within a streak.

    What is saved between is good to go back to.
    """
    if self.saved == self.done:
      return
    self.flush()
    if self.streak.length and not anyhow:
      return
    self.count_input()
    self.host.averages = self.averages.totals
    begin = time.perf_counter()
    self.tools.checkpoints.save(self.state, dataclasses.asdict(self.host))
    self.tools.clock.add_save(time.perf_counter() - begin)
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
    self.tools.checkpoints.check()
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
      begin = time.perf_counter()
      values = jax.device_get(metrics)
      self.tools.clock.add_wait(time.perf_counter() - begin)
      self.record(step, values)

  def record(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Averages the metrics of one step; at the interval's end writes them."""
    self.streak.seen(step, int(metrics["skipped_in_a_row"][0]))
    self.averages.add(metrics)
    if step % self.every.log_every == 0 or step == self.every.total_steps:
      values = self.averages.take()
      values |= self.tools.clock.interval(self.every.batch_size)
      self.count_input()
      if self.host.skipped:
        values["input_faults"] = sum(self.host.skipped.values())
      position = step + self.host.position - self.done
      values |= self.tools.sources(position, self.host.skipped)
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

  def roll_back(self, batches: Iterator[Tree]) -> None:
    """Goes back to the last checkpoint before the streak that failed.

    The next batch is the second one after the failure, whether or not that
    step was under way: a run that was stopped and resumed takes the same.
    """
    failed, checkpoints = self.streak.failed, self.tools.checkpoints
    found = None
    if len(self.host.rollbacks) < self.every.max_rollbacks:
      like, self.state = shapes(self.state), None  # two would not fit
      found = checkpoints.go_back(self.streak.last_good, like)
    if found is None:
      raise self.give_up(failed)
    if self.done == failed:
      next(batches)
    position = self.host.position + failed + 1 - self.done
    self.state, host = found
    self.done = self.saved = int(self.state.step)
    LOG.error(
      "loss or gradient was not finite in %d steps in a row, up to step %d: "
      "going back to the checkpoint of step %d, and on with other data, from "
      "batch %d of the global order",
      self.every.max_skipped, failed, self.done, position,
    )  # fmt: skip
    self.host.rollbacks.append([failed, self.done])
    self.host.position = position
    self.host.evaluated = host["evaluated"]
    self.averages, self.pending = Averages(host["averages"]), None
    self.streak = Streak(self.every.max_skipped, self.done, 0)
    self.stop.forget_steps()
    self.tools.log.rewind(self.done)
    self.tools.display.rewind(self.done)

  def give_up(self, step: int) -> NonFiniteError:
    """The error that ends the run."""
    kept = self.tools.checkpoints.steps()
    kept = f"checkpoint {kept[-1]} is kept" if kept else "nothing was saved"
    back = [step for _, step in self.host.rollbacks]
    again = f", although it went back to step {back[-1]} before" if back else ""
    return NonFiniteError(
      f"loss or gradient was not finite in {self.every.max_skipped} steps in a "
      f"row, up to step {step}{again}; {kept}. Look for broken data, start "
      "again with a lower optimizer.learning_rate, or go on from there over "
      "other data with a higher optimizer.max_rollbacks"
    )
