"""Compiled programs, read from XLA's text.

XLA offers no other view of what it made of a step: which operations it fused,
how often its loops run, and what it sends between devices.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_BITS = {
  "pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16,
  "s32": 32, "u32": 32, "s64": 64, "u64": 64, "bf16": 16, "f16": 16,
  "f32": 32, "f64": 64, "c64": 64, "c128": 128,
}  # fmt: skip
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")


@dataclasses.dataclass(frozen=True)
class Array:
  """An array of a program, as one device holds it.

  Attributes:
    dtype: XLA's name of the element type.
    shape: sides, in logical order.
    bytes: of memory, padded to whole tiles where the layout has tiles.
    main: it lies in the device's main memory, not in a scratchpad.
  """

  dtype: str
  shape: tuple[int, ...]
  bytes: int
  main: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One instruction: `arrays` are its results, `rest` its attributes."""

  name: str
  opcode: str
  arrays: tuple[Array, ...]
  operands: tuple[str, ...]
  inside: str
  rest: str

  def calls(self, *names: str) -> list[str]:
    """Computations that the attributes `names` refer to."""
    found = []
    for name in names:
      match = re.search(rf"\b{name}=(\{{[^}}]*\}}|%[\w.\-]+)", self.rest)
      found += _NAME.findall(match.group(1)) if match else []
    return found


@dataclasses.dataclass
class Computation:
  """Instructions by name, in order of execution; the last one's is `root`."""

  instructions: dict[str, Instruction]
  root: str = ""

  def __iter__(self) -> Iterator[Instruction]:
    return iter(self.instructions.values())

  @functools.cached_property
  def users(self) -> dict[str, list[Instruction]]:
    """Name -> instructions that read it."""
    found = {name: [] for name in self.instructions}
    for instruction in self:
      for operand in dict.fromkeys(instruction.operands):
        if operand in found:
          found[operand].append(instruction)
    return found


@dataclasses.dataclass
class Program:
  """Computations by name; `entry` is where execution begins."""

  computations: dict[str, Computation]
  entry: str


def parse(text: str) -> Program:
  """Reads a program as `jax.stages.Compiled.as_text` prints it.

  Raises:
    ValueError: no program begins in the text.
  """
  program, current = Program({}, ""), None
  for line in text.splitlines():
    if head := _HEAD.match(line):
      current = program.computations[head.group(2)] = Computation({})
      if head.group(1):
        program.entry = head.group(2)
    elif line.startswith("}"):
      current = None
    elif current is not None and (start := _LINE.match(line)):
      made = _instruction(start.group(2), line[start.end() :])
      current.instructions[made.name] = made
      if start.group(1):
        current.root = made.name
  if not program.entry:
    raise ValueError("no ENTRY in the text: this is no compiled program of XLA")
  return program


def _instruction(name: str, text: str) -> Instruction:
  end = _close(text, 0) if text.startswith("(") else text.index(" ")
  opened = text.index("(", end)
  closed = _close(text, opened)
  inside = text[opened + 1 : closed - 1]
  return Instruction(
    name=name,
    opcode=text[end:opened].strip(),
    arrays=tuple(map(_array, _ARRAY.finditer(text, 0, end))),
    operands=tuple(_NAME.findall(inside)),
    inside=inside,
    rest=text[closed:],
  )


def _close(text: str, start: int) -> int:
  """Index behind the parenthesis that closes the one at `start`."""
  depth = 0
  for match in re.compile(r"[()]").finditer(text, start):
    depth += 1 if match.group() == "(" else -1
    if depth == 0:
      return match.end()
  raise ValueError(f"unbalanced parentheses in {text[:80]!r}")


def _array(match: re.Match) -> Array:
  dtype, sides, layout = match.groups(default="")
  shape = tuple(int(side.lstrip("<=")) for side in sides.split(",") if side)
  order, _, tiling = layout.partition(":")
  padded = list(shape)
  if tile := re.match(r"T\(([\d,]+)\)", tiling):
    minor = [int(axis) for axis in order.split(",") if axis]
    for axis, side in zip(minor, reversed(tile.group(1).split(","))):
      padded[axis] = math.ceil(padded[axis] / int(side)) * int(side)
  bits = _BITS.get(dtype, 0)
  return Array(
    dtype=dtype,
    shape=shape,
    bytes=math.ceil(math.prod(padded) * bits / 8),
    main=not re.search(r"S\([1-9]\d*\)", layout),
  )


def read_by(instruction: Instruction, computation: Computation) -> list[Array]:
  """Arrays that an instruction reads."""
  found = []
  for operand in instruction.operands:
    if source := computation.instructions.get(operand):
      found += source.arrays
  return found
