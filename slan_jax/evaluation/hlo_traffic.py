"""Main memory that the instructions of a compiled program read and write."""

import re
from collections.abc import Iterable

from slan_jax.evaluation.hlo import (
  Array,
  Computation,
  Instruction,
  Program,
  read_by,
)
from slan_jax.evaluation.hlo_collective import COLLECTIVES

# They name arrays or begin computations, and move nothing themselves.
_FREE = {
  "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all",
  "partition-id", "replica-id", "opt-barrier", "while", "conditional", "call",
  "async-start", "async-update", "async-done", "domain", "iota",
}  # fmt: skip


def bytes_of(
  program: Program, instruction: Instruction, computation: Computation
) -> float:
  """Main memory that one instruction reads and writes."""
  opcode = instruction.opcode
  if opcode in _FREE or opcode.endswith("-done"):
    return 0
  made = [array for array in instruction.arrays if array.main]
  if opcode == "fusion":
    return _fusion_bytes(program, instruction, computation)
  if opcode.removesuffix("-start") in ("dynamic-slice", "slice", "gather"):
    # Of what is read only the slice, also where it goes to the scratchpad.
    named = len(instruction.operands) if opcode.endswith("-start") else 0
    part = instruction.arrays[named]  # behind the operands, named again
    source = next(iter(read_by(instruction, computation)), part)
    return part.bytes * (source.main + part.main)
  if opcode in ("dynamic-update-slice", "scatter"):
    update = instruction.operands[1 if opcode.startswith("d") else -1]
    return 2 * _main(computation.instructions[update].arrays)
  if opcode.endswith("-start"):  # the results name the operands again
    made = [array for array in instruction.arrays[-1:] if array.main]
    if opcode == "copy-start":
      made = [array for array in instruction.arrays[:1] if array.main]
  read = _main(read_by(instruction, computation))
  return read + sum(array.bytes for array in made)


def _main(arrays: Iterable[Array]) -> int:
  return sum(array.bytes for array in arrays if array.main)


def _fusion_bytes(program: Program, instruction, outer) -> float:
  """Operands and results of a fusion; of slices the slice alone.

  What only passes through, being sent meanwhile, is no traffic of the fusion.
  """
  inner = _callee(program, instruction)
  alias = re.search(r"output_to_operand_aliasing=\{(.*?\))\}", instruction.rest)
  pairs = re.findall(r"\{(\d*)\}: \((\d+), ", alias.group(1) if alias else "")
  passing = {int(operand) for _, operand in pairs}
  parameters = _parameters(inner)
  total = 0.0
  for index, operand in enumerate(instruction.operands):
    source = outer.instructions.get(operand)
    if source is None or index in passing:
      continue
    part = None
    if index in parameters:
      part = _sliced(program, inner, parameters[index])
    whole = _main(source.arrays)
    total += whole if part is None else min(whole, part)
  return total + _written(inner, {int(output or 0) for output, _ in pairs})


def _callee(program: Program, fusion: Instruction) -> Computation:
  (name,) = fusion.calls("calls")
  return program.computations[name]


def _parameters(inner: Computation) -> dict[int, Instruction]:
  return {int(i.inside): i for i in inner if i.opcode == "parameter"}


def _sliced(
  program: Program, inner: Computation, parameter: Instruction
) -> float | None:
  """Bytes of a parameter that slices read; None where all of it is read."""
  total, waiting = 0.0, [parameter]
  while waiting:
    source = waiting.pop()
    for user in inner.users[source.name]:
      if user.opcode in ("bitcast", "copy", "reshape"):
        waiting.append(user)
      elif user.opcode in ("dynamic-slice", "slice", "gather"):
        total += user.arrays[0].bytes
      elif user.opcode == "fusion":
        nested = _callee(program, user)
        place = _parameters(nested)[user.operands.index(source.name)]
        part = _sliced(program, nested, place)
        if part is None:
          return None
        total += part
      elif not _updates(user, source):
        return None
  return total


def _updates(user: Instruction, source: Instruction) -> bool:
  """Whether an array is only written to, in place."""
  target = user.operands[0] == source.name
  return user.opcode == "dynamic-update-slice" and target


def _written(inner: Computation, aliased: set[int]) -> float:
  """Bytes that a fusion writes: of an update in place the update alone."""
  root = inner.instructions[inner.root]
  names = root.operands if root.opcode == "tuple" else (root.name,)
  total = 0.0
  for output, name in enumerate(names):
    made = inner.instructions[name]
    while made.opcode == "bitcast" and made.operands:
      made = inner.instructions[made.operands[0]]
    if made.opcode == "dynamic-update-slice":
      total += _main(inner.instructions[made.operands[1]].arrays)
    elif output not in aliased and made.opcode not in COLLECTIVES:
      total += _main(made.arrays)
  return total
