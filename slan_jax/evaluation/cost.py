"""Floating-point operations of a program, counted from its jaxpr.

XLA's own `cost_analysis` counts the body of a loop once; here every `scan` is
multiplied by its trip count. Only products of matrices and convolutions are
counted, two operations per multiply-add, as the field counts a model's FLOPs.
"""

import math
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
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  total = 0.0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
      total += _dot_general(equation)
    elif name == "conv_general_dilated":
      total += _convolution(equation)
    elif name == "cond":
      total += max(count_flops(inner) for inner in params["branches"])
    elif name == "scan":
      total += params["length"] * count_flops(params["jaxpr"])
    else:
      for inner in _inner(params):
        total += count_flops(inner)
  return total


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
