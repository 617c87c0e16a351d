"""What a chip can hold and move, as its maker states it."""

from typing import NamedTuple

from slan_jax.training.peak import known_peak


class Chip(NamedTuple):
  """A kind of accelerator.

  Attributes:
    flops: dense bfloat16 FLOP/s.
    memory: bytes of high-bandwidth memory that a program may fill; XLA keeps
      the rest for itself.
    bandwidth: of that memory, bytes per second.
    link: bytes per second of one link to a neighbour, one way.
    wrap: chips along an axis of the torus from which it closes to a ring; a
      shorter axis is a line.
  """

  flops: float
  memory: int
  bandwidth: float
  link: float
  wrap: int


# Start of `device_kind` -> memory in GiB that XLA leaves to a program (its own
# message when a program does not fit), HBM bandwidth, ICI bandwidth of a chip
# in one direction over its links, chips from which an axis wraps around. From
# the pages of each generation at docs.cloud.google.com/tpu/docs (v5e, v5p,
# v6e): 1,600 / 4,800 / 3,200 Gbit/s over 4 / 6 / 4 links.
_TPUS = {
  "TPU v5 lite": (15.75, 819e9, 200e9 / 4, 16),
  "TPU v5": (95.74, 2765e9, 600e9 / 6, 4),
  "TPU v6 lite": (31.25, 1638e9, 400e9 / 4, 16),
}


def find_chip(kind: str) -> Chip | None:
  """The chip of a `device_kind`, or None where no table knows it."""
  fitting = [start for start in _TPUS if kind.startswith(start)]
  if not fitting:
    return None
  memory, bandwidth, link, wrap = _TPUS[max(fitting, key=len)]
  return Chip(known_peak(kind), int(memory * 2**30), bandwidth, link, wrap)
