"""Steps in a row whose loss or gradient is not finite."""

import logging

LOG = logging.getLogger(__name__)


class Streak:
  """Counts such steps, and tells when they are too many.

  Attributes:
    length: of the streak that the last step belongs to; 0 = it was finite.
    failed: step at which the streak reached its limit, or None.
  """

  def __init__(self, limit: int, step: int, length: int):
    """Begins where a state stands.

    Args:
      limit: steps in a row that are too many.
      step: optimiser steps behind the state.
      length: of its streak.
    """
    self._limit, self.length, self.failed = limit, 0, None
    self._count(step, length)

  def seen(self, step: int, length: int) -> None:
    """Takes note of the streak that a step belongs to; warns of its first."""
    if length == 1:
      LOG.warning(
        "step %d: loss or gradient is not finite; the update is skipped", step
      )
    self._count(step, length)

  def _count(self, step: int, length: int) -> None:
    self.length = length
    if length >= self._limit and self.failed is None:
      self.failed = step - (length - self._limit)

  @property
  def last_good(self) -> int:
    """The finite step before the streak that failed."""
    return self.failed - self._limit
