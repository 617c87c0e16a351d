"""Attention, feed-forward blocks and norms.

Axis letters: B batch, N queries, M keys, H heads, D width. Softmaxes and unit
vectors are computed in float32 whatever the type of the weights is.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def l2_normalize(x: Tensor, epsilon: float = 1e-6) -> Tensor:
  """Unit vectors along the last axis, float32; a zero vector stays zero."""
  x = x.float()
  return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + epsilon)


def masked_softmax(logits: Tensor, mask: Tensor | None) -> Tensor:
  """Softmax over the last axis in float32; rows without a True are zeros."""
  logits = logits.float()
  if mask is None:
    return logits.softmax(-1)
  weights = logits.masked_fill(~mask, -1e30).softmax(-1)
  return weights.masked_fill(~mask, 0.0)


class GroupNorm(nn.GroupNorm):
  """GroupNorm as accurate as its statistics in any memory layout.

  With the channels last, as permuted images lie, torch sums squares on the CPU:
  of a map of 112 x 112 cells some 1e-5 is lost.
  """

  def forward(self, x: Tensor) -> Tensor:
    return super().forward(x.contiguous())


class Linear32(nn.Linear):
  """A linear map in float32, whatever type the model was moved to."""

  def forward(self, x: Tensor) -> Tensor:
    bias = None if self.bias is None else self.bias.float()
    return F.linear(x.float(), self.weight.float(), bias)


class MultiHeadAttention(nn.Module):
  """Attention with query, key, value and output projections.

  A query that may attend to nothing yields zeros, output bias included.
  """

  def __init__(self, width: int, heads: int):
    super().__init__()
    self.heads = heads
    self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
    self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

  def forward(
    self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
  ) -> Tensor:
    """Args: [B, N, D], [B, M, D] twice; mask bool [B, M] or [B, N, M]."""
    return self.read(query, *self.project(key, value), mask)

  def project(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Projected keys and values, as a cache keeps them."""
    return self.key(key), self.value(value)

  def read(
    self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
  ) -> Tensor:
    """Attention to projected keys and values: [B, N, D]."""

    def split(x: Tensor) -> Tensor:
      return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    query, key, value = split(self.query(query)), split(key), split(value)
    scale = query.shape[-1] ** -0.5
    logits = (query * scale) @ key.transpose(-1, -2)
    wide = mask
    if mask is not None:
      wide = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
    weights = masked_softmax(logits, wide).to(value.dtype)
    output = self.out((weights @ value).transpose(1, 2).flatten(2))
    if mask is None:
      return output
    some = mask.any(-1)
    some = some[:, None, None] if mask.ndim == 2 else some[..., None]
    return output.masked_fill(~some, 0.0)


class Mlp(nn.Module):
  """Feed-forward block: linear, activation, linear."""

  def __init__(self, width: int, hidden: int, activation=F.gelu):
    super().__init__()
    self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
    self.activation = activation

  def forward(self, x: Tensor) -> Tensor:
    return self.down(self.activation(self.up(x)))
