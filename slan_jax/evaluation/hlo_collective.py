"""What a compiled program sends between devices."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from slan_jax.evaluation.hlo import Computation, Instruction, read_by

# Kind of a collective -> bytes that a device sends, of the larger of operand
# and result (of all-reduce: of the operand), n devices taking part in rings.
COLLECTIVES: dict[str, Callable[[int, int], float]] = {
  "all-gather": lambda size, n: size * (n - 1) / n,
  "all-reduce": lambda size, n: 2 * size * (n - 1) / n,
  "reduce-scatter": lambda size, n: size * (n - 1) / n,
  "all-to-all": lambda size, n: size * (n - 1) / n,
  "ragged-all-to-all": lambda size, n: size * (n - 1) / n,
  "collective-permute": lambda size, n: size,
  "collective-broadcast": lambda size, n: size,
}


class Sent(NamedTuple):
  """What one instruction sends.

  Attributes:
    kind: of collective.
    group: devices of its first group.
    bytes: that each device sends.
    channel: instructions of one channel are steps of one collective, which
      TPUs spread over the operations that it runs beside; None = of its own.
  """

  kind: str
  group: tuple[int, ...]
  bytes: float
  channel: int | None


def sent_by(instruction: Instruction, computation: Computation) -> Sent | None:
  """What an instruction sends; None where it is no collective."""
  kind = instruction.opcode.removesuffix("-start")
  if kind not in COLLECTIVES:
    return None
  size, group = _payload(instruction, computation), _group(instruction.rest)
  channel = re.search(r"channel_id=(\d+)", instruction.rest)
  # TPUs write a reduce-scatter as a sum of which a device cuts its part, each
  # in one piece; those of several arrays all have channel 1.
  if kind == "all-reduce" and _is_cut(instruction, computation):
    kind, channel = "reduce-scatter", None
  return Sent(
    kind,
    group,
    COLLECTIVES[kind](size, len(group)),
    int(channel.group(1)) if channel else None,
  )


def _is_cut(instruction: Instruction, computation: Computation) -> bool:
  """Whether slices are all that is read of a result, or of each of several."""
  users = computation.users[instruction.name]
  for user in users:
    if user.opcode == "get-tuple-element":
      if not _is_cut(user, computation):
        return False
    elif user.opcode != "dynamic-slice":
      return False
  return bool(users)


def _payload(instruction: Instruction, computation: Computation) -> int:
  """Bytes that a collective handles on a device."""
  read = sum(a.bytes for a in read_by(instruction, computation))
  made = sum(array.bytes for array in instruction.arrays)
  if instruction.opcode.endswith("-start"):  # results name operands again
    made = max(made - read, 0)
  return read if "all-reduce" in instruction.opcode else max(read, made)


def _group(attributes: str) -> tuple[int, ...]:
  """Devices of the first group, in any of the forms that XLA writes.

  {{0,1},{2,3}}; [groups,members]<=[sides]T(order); or axes of a mesh,
  mesh['a'=2,'b'=4] {'b'}, of which 'b':(2)2 is the part of 2 behind 2; its
  devices may be listed in another order, device_ids=([sides]T(order)).
  """
  iota = re.search(
    r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?",
    attributes,
  )
  if iota:
    _, members, sides, order = iota.groups()
    return tuple(_order(sides, order)[: int(members)])
  named = re.search(
    r"replica_groups=mesh\[([^\]]*)\]"
    r"(?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? ?\{([^}]*)\}",
    attributes,
  )
  if named:
    mesh, sides, order, axes = named.groups()
    members = _along(mesh, axes)
    if sides:
      devices = _order(sides, order)
      return tuple(devices[place] for place in members)
    return members
  listed = re.search(
    r"(?:replica_groups|source_target_pairs)=\{\{([\d,]+)\}", attributes
  )
  return tuple(_numbers(listed.group(1))) if listed else (0,)


def _order(sides: str, order: str | None) -> list[int]:
  """Devices counted row by row, listed along `order` of the axes."""
  sides = _numbers(sides)
  devices = np.arange(math.prod(sides)).reshape(sides)
  if order:
    devices = devices.transpose(_numbers(order))
  return devices.reshape(-1).tolist()


def _along(sides: str, axes: str) -> tuple[int, ...]:
  """Devices of a row-major mesh that differ along some axes from the first."""
  mesh = [(n, int(size)) for n, size in re.findall(r"'([^']+)'=(\d+)", sides)]
  members, stride = np.zeros(1, int), math.prod(size for _, size in mesh)
  taken = {
    name: (int(before or 1), int(part or 0))
    for name, before, part in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", axes)
  }
  for name, size in mesh:
    stride //= size
    if name in taken:
      before, part = taken[name]
      part = part or size
      step = stride * (size // (before * part))
      members = np.add.outer(members, np.arange(part) * step).reshape(-1)
  return tuple(members.tolist())


def _numbers(text: str) -> list[int]:
  return [int(number) for number in text.split(",")]
