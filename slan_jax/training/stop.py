"""Polite stopping: a signal asks the loop to save and leave."""

import contextlib
import signal
import time
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)
PERIOD = 2.0  # seconds between two settlements of several processes


class Stop:
  """Whether, and by which signal, the run was asked to stop.

  Attributes:
    caught: the signal that reached this process, or None.
    signal: the one that the run stops by, once its processes agree.
  """

  def __init__(self):
    """Nobody has asked yet."""
    self.caught: int | None = None
    self.signal: int | None = None
    self._next: int | None = None  # step of the next settlement
    self._since = (0, 0.0)  # step and time of the last one

  def asked(self, step: int) -> bool:
    """Whether to stop before this step.

    Processes of one run must stop together, so with several of them the
    question is settled among all, about every `PERIOD` seconds: gathering
    waits for the devices, which at every step would cost speed.

    Args:
      step: the step about to be taken.
    """
    if jax.process_count() == 1:
      self.signal = self.caught
      return self.signal is not None
    if self._next is not None and step < self._next:
      return False
    mine = np.array([self.caught or 0, self._steps_of_a_period(step)], np.int32)
    found = multihost_utils.process_allgather(mine)
    # Clocks differ: all take the period of process 0.
    self._next = step + int(found[0, 1])
    self.signal = int(found[:, 0].max()) or None
    return self.signal is not None

  def forget_steps(self) -> None:
    """Settles at the next step: the run went back, to lower numbers."""
    self._next = None

  def _steps_of_a_period(self, step: int) -> int:
    """Steps that fit into a period at the speed since the last settlement."""
    (last, since), now = self._since, time.monotonic()
    self._since = (step, now)
    if self._next is None or step <= last:
      return 1  # the first step compiles: it tells nothing
    steps = PERIOD * (step - last) / max(now - since, 1e-9)
    # Slowly more, so that one fast step does not decide for long.
    return int(np.clip(steps, 1, 2 * (step - last)))


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
  """Catches SIGTERM and Ctrl-C once; a second one ends the process at once."""
  stop = Stop()
  previous = {number: signal.getsignal(number) for number in SIGNALS}

  def handle(number: int, frame) -> None:
    del frame
    stop.caught = number
    for each in SIGNALS:
      signal.signal(each, signal.SIG_DFL)

  try:
    for number in SIGNALS:
      signal.signal(number, handle)
    yield stop
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)
