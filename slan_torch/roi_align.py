"""RoIAlign without gathers, differentiable in the boxes.

A bin of RoIAlign is two rows of interpolation weights, one over the height and
one over the width of the map; pooling is then two products.

Letters: B batch, R regions, H W sides of the map, D width, s output bins.
"""

import torch
from torch import Tensor


def roi_align(
  features: Tensor, boxes: Tensor, output_size: int, sampling_ratio: int
) -> Tensor:
  """Pools each box into s x s bins (section 3.2.3).

  Half-pixel aligned and zero outside the map, as torchvision's `roi_align`
  with `aligned=True`; unlike it, differentiable in the boxes.

  Args:
    features: [B, H, W, D].
    boxes: [B, R, 4] cxcywh in [0, 1] of the image; may reach outside.
    output_size: s, bins per side.
    sampling_ratio: samples per bin and side.

  Returns:
    [B, R, s, s, D] in the dtype of `features`; axis 2 runs down the image.
  """
  boxes = boxes.float()
  rows, columns = (
    interpolation_weights(
      boxes[..., axis],
      boxes[..., axis + 2],
      features.shape[2 - axis],
      output_size,
      sampling_ratio,
    ).to(features.dtype)
    for axis in (1, 0)
  )
  bands = torch.einsum("brih,bhwd->briwd", rows, features)
  return torch.einsum("brjw,briwd->brijd", columns, bands)


def interpolation_weights(
  centres: Tensor,
  sizes: Tensor,
  length: int,
  output_size: int,
  sampling_ratio: int,
) -> Tensor:
  """Weights with which the cells of one map axis enter each bin of a box.

  Args:
    centres: [...] centre of the box along this axis, image = 1.
    sizes: [...] side of the box along this axis, image = 1.
    length: cells of the map along this axis.
    output_size: s, bins of the box.
    sampling_ratio: samples per bin.

  Returns:
    [..., s, length] float32; a row sums to the share of its samples that lie
    on the map.
  """
  samples, device = output_size * sampling_ratio, centres.device
  steps = torch.arange(samples, dtype=torch.float32, device=device)
  steps = (steps + 0.5) / samples - 0.5
  # Cell i is centred at i, its left edge at i - 0.5: hence the half pixel.
  points = (centres[..., None] + steps * sizes[..., None]) * length - 0.5
  # torchvision's border rule: one cell beyond the map still reads the border.
  inside = (points >= -1.0) & (points <= length)
  points = points.clamp(0.0, length - 1.0)
  cells = torch.arange(length, dtype=torch.float32, device=device)
  tents = (1.0 - (points[..., None] - cells).abs()).clamp(min=0.0)
  tents = tents.masked_fill(~inside[..., None], 0.0)
  return tents.unflatten(-2, (output_size, sampling_ratio)).mean(-2)
