"""Polite stopping: a signal asks the loop to save and leave."""

import contextlib
import signal
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
  """Whether, and by which signal, the run was asked to stop."""

  def __init__(self):
    """Nobody has asked yet."""
    self.signal: int | None = None

  def asked(self, step: int, every: int) -> bool:
    """Whether to stop before this step.

    Processes of one run must stop together, so with several of them the
    question is settled among all, and only every so many steps.

    Args:
      step: the step about to be taken.
      every: steps between such settlements.
    """
    if jax.process_count() == 1:
      return self.signal is not None
    if step % every:
      return False
    found = multihost_utils.process_allgather(self.signal or 0)
    self.signal = int(found.max()) or None
    return self.signal is not None


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
  """Catches SIGTERM and Ctrl-C once; a second one ends the process at once."""
  stop = Stop()
  previous = {number: signal.getsignal(number) for number in SIGNALS}

  def handle(number: int, frame) -> None:
    del frame
    stop.signal = number
    for each in SIGNALS:
      signal.signal(each, signal.SIG_DFL)

  try:
    for number in SIGNALS:
      signal.signal(number, handle)
    yield stop
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)
