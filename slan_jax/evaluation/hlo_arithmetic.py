"""Arithmetic of a compiled program: matrix products and convolutions."""

import math
import re

from slan_jax.evaluation.hlo import Computation, Instruction, Program, read_by


def flops_of(
  program: Program, instruction: Instruction, computation: Computation
) -> float:
  """Arithmetic of one instruction, without that of loops it runs."""
  if instruction.opcode == "fusion":
    return sum(
      flops_of(program, inner, program.computations[name])
      for name in instruction.calls("calls")
      for inner in program.computations[name]
    )
  if instruction.opcode == "dot":
    left = computation.instructions[instruction.operands[0]].arrays[0]
    axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.rest)
    numbers = axes.group(1).split(",") if axes and axes.group(1) else []
    contracted = math.prod(left.shape[int(axis)] for axis in numbers)
    return 2.0 * math.prod(instruction.arrays[0].shape) * contracted
  if instruction.opcode == "convolution":
    return _convolution(instruction, computation)
  return 0.0


def _convolution(instruction, computation) -> float:
  """2 x batch x output channels x input channels x pairs of cells that meet.

  XLA writes products of matrices and gradients as convolutions whose windows
  lie mostly in padding or between cells; only pairs on cells are arithmetic.
  """
  numbers = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.rest)
  inputs, kernels, outputs = numbers.groups()
  left, right = read_by(instruction, computation)[:2]
  made = instruction.arrays[0]
  window = {
    key: value.split("x")
    for key, value in re.findall(r"(\w+)=([\dx_\-]+)", _window(instruction))
  }
  pairs = 1.0
  for digit in sorted(set(inputs) - {"b", "f"}):
    index = int(digit)
    pairs *= _pairs(
      left.shape[inputs.index(digit)],
      right.shape[kernels.index(digit)],
      made.shape[outputs.index(digit)],
      stride=int(window.get("stride", ["1"] * 9)[index]),
      low=int(window.get("pad", ["0_0"] * 9)[index].split("_")[0]),
      left_holes=int(window.get("lhs_dilate", ["1"] * 9)[index]),
      right_holes=int(window.get("rhs_dilate", ["1"] * 9)[index]),
    )
  batch = left.shape[inputs.index("b")]
  if groups := re.search(r"batch_group_count=(\d+)", instruction.rest):
    batch //= int(groups.group(1))
  channels = right.shape[kernels.index("i")] * right.shape[kernels.index("o")]
  return 2.0 * batch * channels * pairs


def _window(instruction: Instruction) -> str:
  match = re.search(r"window=\{([^}]*)\}", instruction.rest)
  return match.group(1) if match else ""


def _pairs(
  cells: int,
  size: int,
  outputs: int,
  *,
  stride: int,
  low: int,
  left_holes: int,
  right_holes: int,
) -> int:
  """(output, kernel cell) pairs along an axis that meet an input cell."""
  reach = (cells - 1) * left_holes
  count = 0
  for k in range(size):
    first = k * right_holes - low
    places = range(first, first + outputs * stride, stride)
    if left_holes == 1:  # whole range at once: kernels may be long
      begin = max(0, math.ceil(-first / stride))
      end = min(outputs, (reach - first) // stride + 1)
      count += max(0, end - begin)
    else:
      count += sum(0 <= p <= reach and p % left_holes == 0 for p in places)
  return count
