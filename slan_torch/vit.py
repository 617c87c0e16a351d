"""Vision transformers (section 4.1): pre-LN, learned positions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slan_torch.layers import Mlp, MultiHeadAttention

_EPSILON = 1e-6  # of LayerNorm, as timm


class Layer(nn.Module):
  """Self-attention and feed-forward, pre-LN."""

  def __init__(self, row):
    super().__init__()
    self.attention_norm = nn.LayerNorm(row.width, eps=_EPSILON)
    self.attention = MultiHeadAttention(row.width, row.heads)
    self.mlp_norm = nn.LayerNorm(row.width, eps=_EPSILON)
    self.mlp = Mlp(row.width, row.mlp_width)

  def forward(self, x: Tensor) -> Tensor:
    y = self.attention_norm(x)
    x = x + self.attention(y, y, y)
    return x + self.mlp(self.mlp_norm(x))


class Vit(nn.Module):
  """Vision transformer; the class token takes part, the maps leave it out."""

  def __init__(self, row, image_size: int):
    super().__init__()
    self.row = row
    self.patches = nn.Conv2d(3, row.width, row.patch, stride=row.patch)
    self.class_token = nn.Parameter(torch.randn(1, row.width) * 0.02)
    rows = 1 + (image_size // row.patch) ** 2
    self.position = nn.Parameter(torch.randn(rows, row.width) * 0.02)
    self.layers = nn.ModuleList(Layer(row) for _ in range(row.layers))
    self.norm = nn.LayerNorm(row.width, eps=_EPSILON)

  def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor]:
    """The last map by its stride, and the one after `middle_layer`.

    Args:
      images: [B, 3, S, S] normalised; another S than the position table's
        resizes the table.

    Returns:
      patch -> [B, h, h, D], and [B, h, h, D].

    Raises:
      ValueError: S is not a multiple of the patch.
    """
    row, side = self.row, images.shape[-1] // self.row.patch
    if images.shape[-1] % row.patch:
      raise ValueError(
        f"image side {images.shape[-1]} is not a multiple of the patch, "
        f"{row.patch}"
      )
    x = self.patches(images).flatten(2).transpose(1, 2)
    token = self.class_token.expand(len(x), 1, -1)
    x = torch.cat([token, x], 1) + resize_positions(self.position, side)[None]
    low = x
    for i, layer in enumerate(self.layers):
      x = layer(x)
      if i + 1 == row.middle_layer:
        low = x

    def cells(x: Tensor) -> Tensor:
      return x[:, 1:].unflatten(1, (side, side))

    return {row.patch: cells(self.norm(x))}, cells(low)


def resize_positions(table: Tensor, side: int) -> Tensor:
  """A position table for another number of patches, bicubic."""
  old = math.isqrt(len(table) - 1)
  if old == side:
    return table
  grid = table[1:].T.unflatten(1, (old, old))[None].float()
  grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
  return torch.cat([table[:1], grid[0].flatten(1).T.to(table.dtype)])
