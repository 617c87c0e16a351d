"""Affinity of neighbouring places: an addition to the paper.

A similarity is spread over the places nearby that look alike, in mean colour
or in the features of the backbone's finest map: joint bilateral upsampling.

Axes: B batch, h w sides of the map, H = n h and W = n w of the finer one,
J = window * window cells around a cell, C channels, P phrases.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def neighbour_weights(
  fine: Tensor, coarse: Tensor, *, window: int, scale: float, distance: float
) -> Tensor:
  """Weights of the map's cells around each finer cell, which sum to 1.

  Args:
    fine: [B, H, W, C] cue on the finer grid.
    coarse: [B, h, w, C] cue on the map's grid.
    window: side of the neighbourhood in cells of the map, odd.
    scale: per squared difference of the cue.
    distance: per squared distance, the image side being 2.

  Returns:
    [B, J, h, n, w, n]: softmax over J of -scale * unlike - distance * far, for
    the cells inside the map.
  """
  _, h, w, _ = coarse.shape
  times, reach = fine.shape[1] // h, window // 2
  fine, coarse = (x.permute(0, 3, 1, 2) for x in (fine, coarse))
  fine = fine.unflatten(3, (w, times)).unflatten(2, (h, times))
  coarse = F.pad(coarse, (reach,) * 4)
  exists = F.pad(coarse.new_ones((h, w)), (reach,) * 4) > 0
  inner = torch.arange(times, dtype=torch.float32, device=fine.device)
  inner = (inner + 0.5) / times - 0.5
  logits = []
  for dy in range(window):
    for dx in range(window):
      rows, columns = slice(dy, dy + h), slice(dx, dx + w)
      unlike = (fine - coarse[:, :, rows, None, columns, None]).square().sum(1)
      down = ((inner - (dy - reach)) * (2 / h)).square()[:, None, None]
      right = ((inner - (dx - reach)) * (2 / w)).square()
      logit = -scale * unlike - distance * (down + right)
      outside = ~exists[rows, None, columns, None]
      logits.append(logit.masked_fill(outside, -math.inf))
  return torch.stack(logits, 1).softmax(1)


def spread(maps: Tensor, weights: Tensor) -> Tensor:
  """Mean of a map [B, h, w, P] over the cells around each: [B, H, W, P]."""
  _, h, w, _ = maps.shape
  window = math.isqrt(weights.shape[1])
  values = F.pad(maps.permute(0, 3, 1, 2), (window // 2,) * 4)
  total = 0.0
  for j, weight in enumerate(weights.unbind(1)):
    dy, dx = divmod(j, window)
    shifted = values[:, :, dy : dy + h, None, dx : dx + w, None]
    total = total + weight[:, None] * shifted
  return total.flatten(4, 5).flatten(2, 3).permute(0, 2, 3, 1)
