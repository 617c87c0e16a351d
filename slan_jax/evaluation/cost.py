"""Floating-point operations of a program, counted from its jaxpr.

XLA's own `cost_analysis` counts the body of a loop once; here every `scan` is
multiplied by its trip count. Only products of matrices and convolutions are
counted, two operations per multiply-add, as the field counts a model's FLOPs.
"""

import math
from collections.abc import Mapping
from typing import Any

Jaxpr = Any  # jax.core.Jaxpr or ClosedJaxpr; read by duck typing


def count_flops(jaxpr: Jaxpr) -> float:
  """Operations of one call of a program.

  Args:
    jaxpr: what `jax.make_jaxpr(f)(...)` or `jit(f).trace(...).jaxpr` gives.

  Returns:
    Floating-point operations. Of a conditional the dearest branch counts; a
    `while` loop has no known trip count: its body is counted once.
  """
  return sum(_equation(equation) for equation in _equations(jaxpr))


def count_flops_by(
  jaxpr: Jaxpr, parts: Mapping[str, str], rest: str
) -> dict[str, float]:
  """Operations of one call of a program, told apart by named scope.

  Args:
    jaxpr: as in `count_flops`.
    parts: name of a scope (as modules open them) -> part. The outermost scope
      with a part decides.
    rest: part of what stands in none of these scopes.

  Returns:
    Part -> floating-point operations; only parts that have some.
  """
  total: dict[str, float] = {}

  def add(part: str, flops: float) -> None:
    if flops:
      total[part] = total.get(part, 0.0) + flops

  for equation in _equations(jaxpr):
    scopes = str(equation.source_info.name_stack).split("/")
    part = next((parts[scope] for scope in scopes if scope in parts), None)
    inner = _inner(equation.params)
    if part is None and inner and equation.primitive.name != "cond":
      for program in inner:
        for name, flops in count_flops_by(program, parts, rest).items():
          add(name, _times(equation) * flops)
    else:
      add(rest if part is None else part, _equation(equation))
  return total


def _equations(jaxpr: Jaxpr) -> list:
  return getattr(jaxpr, "jaxpr", jaxpr).eqns


def _equation(equation) -> float:
  name, params = equation.primitive.name, equation.params
  if name == "dot_general":
    return _dot_general(equation)
  if name == "conv_general_dilated":
    return _convolution(equation)
  inner = [count_flops(program) for program in _inner(params)]
  if name == "cond":
    return max(inner)
  return _times(equation) * sum(inner)


def _times(equation) -> int:
  """How often the programs inside an equation run."""
  return equation.params["length"] if equation.primitive.name == "scan" else 1


def _inner(params: dict) -> list[Jaxpr]:
  """Programs among an equation's parameters: jit, remat, custom rules..."""
  found = []
  for value in params.values():
    values = value if isinstance(value, (tuple, list)) else (value,)
    found += [v for v in values if hasattr(getattr(v, "jaxpr", v), "eqns")]
  return found


def _dot_general(equation) -> float:
  """2 x batch x rows x columns x contracted."""
  left = equation.invars[0].aval.shape
  (contracted, _), _ = equation.params["dimension_numbers"]
  output = equation.outvars[0].aval.shape
  return 2.0 * math.prod(output) * math.prod(left[axis] for axis in contracted)


def _convolution(equation) -> float:
  """2 x outputs x kernel cells x input channels of one group."""
  kernel = equation.invars[1].aval.shape
  numbers = equation.params["dimension_numbers"]
  outputs, inputs, *space = (kernel[axis] for axis in numbers.rhs_spec)
  del outputs  # already among the output's elements
  cells = inputs * math.prod(space)
  # The gradient of a strided convolution is one over an input with holes
  # (lhs_dilation), or with a holed kernel (rhs_dilation leaves its cells).
  holes = math.prod(equation.params["lhs_dilation"])
  return 2.0 * math.prod(equation.outvars[0].aval.shape) * cells / holes
