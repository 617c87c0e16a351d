"""Sine codes of positions, as DETR: of points and of a map's cells; float32."""

import math

import torch
from torch import Tensor


def sine_position(
  points: Tensor, width: int, temperature: float = 10_000.0
) -> Tensor:
  """Half the channels for y, half for x.

  Args:
    points: [..., 2] x and y in [0, 1] of the image.
    width: D, a multiple of 4.
    temperature: ratio of the longest to the shortest wave.

  Returns:
    [..., D] float32.
  """
  wave = torch.arange(width // 4, dtype=torch.float32, device=points.device)
  rate = 2 * math.pi * temperature ** (-2 * wave / (width // 2))
  angle = points.flip(-1).float()[..., None] * rate
  return torch.stack([angle.sin(), angle.cos()], -1).flatten(-3)


def sine_position_2d(
  height: int, columns: int, width: int, device: torch.device
) -> Tensor:
  """Code of the cells of a map: cell (i, j) is ((j+1)/W, (i+1)/H).

  Returns:
    [H * W, D] float32.
  """
  epsilon = 1e-6  # as DETR
  y, x = (
    torch.arange(1, count + 1, dtype=torch.float32, device=device)
    / (count + epsilon)
    for count in (height, columns)
  )
  y, x = torch.meshgrid(y, x, indexing="ij")
  return sine_position(torch.stack([x, y], -1), width).flatten(0, 1)
