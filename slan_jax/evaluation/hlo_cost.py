"""What one run of a compiled program costs each device, loops multiplied in.

XLA's own `cost_analysis` counts the body of a loop once.
"""

import re
from typing import NamedTuple

from slan_jax.evaluation.hlo import Computation, Instruction, Program
from slan_jax.evaluation.hlo_arithmetic import flops_of
from slan_jax.evaluation.hlo_collective import Sent, sent_by
from slan_jax.evaluation.hlo_traffic import bytes_of


class Cost(NamedTuple):
  """Sums over the instructions of a program, for one device.

  Attributes:
    flops: of matrix products and convolutions, 2 per multiply-add.
    bytes: read from and written to main memory.
    seconds: sum over the instructions that follow one another of the longer
      of arithmetic and memory.
    sent: (kind of collective, the devices of its first group) -> bytes that
      a device sends to others.
    unknown_loops: loops whose trip count the text does not tell; counted once.
  """

  flops: float
  bytes: float
  seconds: float
  sent: dict[tuple[str, tuple[int, ...]], float]
  unknown_loops: int


def measure(program: Program, *, flops: float, bandwidth: float) -> Cost:
  """Walks a program from its entry.

  Args:
    program: as `hlo.parse` returns it.
    flops: the device's peak, per second.
    bandwidth: of its main memory, bytes per second.
  """
  meter = _Meter(program, flops, bandwidth)
  meter.walk(program.entry, 1)
  sent: dict[tuple[str, tuple[int, ...]], float] = {}
  for times, one in meter.collectives.values():
    key = one.kind, one.group
    sent[key] = sent.get(key, 0.0) + times * one.bytes
  total = meter.flops, meter.bytes, meter.seconds
  return Cost(*total, sent, meter.unknown_loops)


class _Meter:
  """The sums of `Cost` while walking."""

  def __init__(self, program: Program, peak: float, bandwidth: float):
    self.program, self.peak, self.bandwidth = program, peak, bandwidth
    self.flops = self.bytes = self.seconds = 0.0
    self.collectives: dict[object, tuple[float, Sent]] = {}
    self.unknown_loops = 0

  def walk(self, name: str, times: float, *, beside: bool = False) -> None:
    """Adds `times` runs of a computation and of those it runs.

    Args:
      name: of the computation.
      times: how often it runs.
      beside: it runs beside other instructions, and costs no time of its own.
    """
    computation = self.program.computations[name]
    for instruction in computation:
      self._add(instruction, computation, times, beside)
      if instruction.opcode == "while":
        count = trip_count(self.program, instruction)
        self.unknown_loops += count is None
        for body in instruction.calls("body"):
          runs = times * (1 if count is None else count)
          self.walk(body, runs, beside=beside)
      elif instruction.opcode == "conditional":
        branches = instruction.calls(
          "branch_computations", "true_computation", "false_computation"
        )
        for branch in branches:  # of which one runs: a mean
          self.walk(branch, times / len(branches), beside=beside)
      elif instruction.opcode in ("call", "async-start"):
        for callee in instruction.calls("to_apply", "calls"):
          apart = instruction.opcode == "async-start"
          self.walk(callee, times, beside=beside or apart)

  def _add(
    self, instruction, computation: Computation, times: float, beside: bool
  ) -> None:
    self._send(instruction, computation, times)
    flops = flops_of(self.program, instruction, computation)
    moved = bytes_of(self.program, instruction, computation)
    self.flops += times * flops
    self.bytes += times * moved
    if not beside and not instruction.opcode.endswith("-start"):
      self.seconds += times * max(flops / self.peak, moved / self.bandwidth)

  def _send(self, instruction, computation: Computation, times: float) -> None:
    if sent := sent_by(instruction, computation):
      # Steps within a loop belong to a collective that begins before it.
      key = instruction.name if sent.channel is None else sent.channel
      known = self.collectives.get(key, (times, sent))
      self.collectives[key] = min(times, known[0]), sent
    elif instruction.opcode == "fusion":  # TPUs fuse collectives with products
      for name in instruction.calls("calls"):
        inner = self.program.computations[name]
        for part in inner:
          self._send(part, inner, times)


def trip_count(program: Program, loop: Instruction) -> int | None:
  """How often a loop runs, where the program tells, else None."""
  if told := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest):
    return int(told.group(1))
  for name in loop.calls("condition"):
    numbers = _integers(program, name)
    if len(numbers) == 1:
      return numbers.pop()
  return None


def _integers(program: Program, name: str) -> set[int]:
  """Integer constants of a computation and of those that it calls."""
  found = set()
  for instruction in program.computations[name]:
    if instruction.opcode == "constant" and instruction.inside.isdigit():
      found.add(int(instruction.inside))
    for callee in instruction.calls("calls", "to_apply"):
      found |= _integers(program, callee)
  return found
