"""One global order over several sources, in proportion to their weights.

Every position of the order is the next visit of one source. A source is
visited in a seeded shuffle of its records, reshuffled at the end of each epoch
of its own, so that sources of any sizes go on side by side without end. Which
visit stands where follows from the position alone, in constant time.

Grain's own `mix` rounds weights to a hundredth of the smallest one and does not
tell how often a source was visited before a position; this one is exact.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import grain


class Visit(NamedTuple):
  """What stands at a position of the global order.

  Attributes:
    source: Number of the source.
    number: Visits of that source before this one.
  """

  source: int
  number: int


class Mixture:
  """The global order; any position can be asked for at any time."""

  def __init__(
    self, lengths: Sequence[int], weights: Sequence[float], seed: int
  ):
    """Fixes the order.

    Args:
      lengths: Records of each source, at least 1.
      weights: How often each is visited, in any unit, above 0.
      seed: Of the shuffles.
    """
    self._weights = _whole_numbers(weights)
    self._orders = [
      # One seed per source: equal lengths are not shuffled alike.
      grain.MapDataset.range(length).seed(seed + place).shuffle().repeat()
      for place, length in enumerate(lengths)
    ]

  def visits(self, positions: int) -> list[int]:
    """How often the first positions of the order visit each source.

    Args:
      positions: How many of the first positions.

    Returns:
      Whole numbers that sum to `positions`; each is its weighted share to
      within one per source before it.
    """
    counts, left, total = [], positions, sum(self._weights)
    for weight in self._weights:
      others = left * (total - weight) // total
      counts.append(left - others)
      left, total = others, total - weight
    return counts

  def visit(self, position: int) -> Visit:
    """What stands at a position: the source whose count grows there."""
    before, after = self.visits(position), self.visits(position + 1)
    grown = [new > old for old, new in zip(before, after)]
    source = grown.index(True)
    return Visit(source, before[source])

  def record(self, visit: Visit) -> int:
    """Number, within its source, of the record that a visit leads to."""
    return self._orders[visit.source][visit.number]


def _whole_numbers(weights: Sequence[float]) -> list[int]:
  """The weights times their common denominator, as they are written."""
  fractions = [Fraction(repr(weight)) for weight in weights]
  unit = math.lcm(*(fraction.denominator for fraction in fractions))
  return [int(fraction * unit) for fraction in fractions]
