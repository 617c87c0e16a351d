"""Residual networks as vision encoders (section 4.1)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slan_torch.layers import GroupNorm

_EPSILON = 1e-5


class LayerNorm2d(nn.LayerNorm):
  """LayerNorm over the channels of [B, C, h, w]."""

  def forward(self, x: Tensor) -> Tensor:
    return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FrozenBatchNorm(nn.Module):
  """Imported statistics, as DETR: none of the four arrays gets a gradient."""

  def __init__(self, width: int):
    super().__init__()
    for name, value in (
      ("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0),
      ("running_var", 1.0),
    ):  # fmt: skip
      self.register_buffer(name, torch.full((width,), value))

  def forward(self, x: Tensor) -> Tensor:
    gain = self.weight * torch.rsqrt(self.running_var + _EPSILON)
    shift = self.bias - self.running_mean * gain
    return x * gain[:, None, None] + shift[:, None, None]


def norm(kind: str, width: int) -> nn.Module:
  """ "group", "layer" (channels only) or "frozen_batch"."""
  if kind == "group":
    return GroupNorm(math.gcd(32, width), width, eps=_EPSILON)
  if kind == "layer":
    return LayerNorm2d(width, eps=_EPSILON)
  if kind == "frozen_batch":
    return FrozenBatchNorm(width)
  raise ValueError(f"backbone.norm: unknown norm {kind!r}")


def convolution(inputs: int, width: int, size: int, stride: int) -> nn.Conv2d:
  """size x size convolution, no bias, padded so that sides shrink by stride."""
  pad = (size - 1) // 2 if size % 2 else (size - stride) // 2
  return nn.Conv2d(inputs, width, size, stride, pad, bias=False)


class ConvNorm(nn.Module):
  """Convolution without bias, then a norm, then ReLU if `relu`."""

  def __init__(self, inputs, width, size, kind, stride=1, relu=True):
    super().__init__()
    self.conv = convolution(inputs, width, size, stride)
    self.norm = norm(kind, width)
    self.relu = relu

  def forward(self, x: Tensor) -> Tensor:
    x = self.norm(self.conv(x))
    return x.relu() if self.relu else x


class Bottleneck(nn.Module):
  """1x1, 3x3 (strided), 1x1 with a shortcut: ResNet v1.5, as torchvision."""

  def __init__(self, inputs: int, width: int, stride: int, kind: str):
    super().__init__()
    inner = width // 4
    self.unit1 = ConvNorm(inputs, inner, 1, kind)
    self.unit2 = ConvNorm(inner, inner, 3, kind, stride)
    self.unit3 = ConvNorm(inner, width, 1, kind, relu=False)
    self.shortcut = None
    if stride > 1 or inputs != width:
      self.shortcut = ConvNorm(inputs, width, 1, kind, stride, relu=False)

  def forward(self, x: Tensor) -> Tensor:
    y = self.unit3(self.unit2(self.unit1(x)))
    return (y + (x if self.shortcut is None else self.shortcut(x))).relu()


class Basic(nn.Module):
  """Pre-activation block of two 3x3 convolutions; a strided one goes before.

  The strided kernel has an even side, so that it is centred on its cell.
  """

  def __init__(self, inputs: int, width: int, stride: int, kind: str):
    super().__init__()
    self.reduce = None
    if stride > 1 or inputs != width:
      size = 2 * stride if stride > 1 else 3
      self.reduce = convolution(inputs, width, size, stride)
    self.norm1, self.conv1 = norm(kind, width), convolution(width, width, 3, 1)
    self.norm2, self.conv2 = norm(kind, width), convolution(width, width, 3, 1)

  def forward(self, x: Tensor) -> Tensor:
    x = x if self.reduce is None else self.reduce(x)
    y = self.conv1(self.norm1(x).relu())
    return x + self.conv2(self.norm2(y).relu())


class ResNet(nn.Module):
  """Residual network; all its maps, the stem's included."""

  def __init__(self, row):
    super().__init__()
    self.row = row
    size = 7 if row.stem == "imagenet" else 4
    self.stem = ConvNorm(3, row.stem_width, size, row.norm, 2)
    block = {"bottleneck": Bottleneck, "basic": Basic}[row.block]
    inputs = row.stem_width
    for i, (width, depth) in enumerate(zip(row.widths, row.depths), 1):
      step = row.first_stride if i == 1 else 2
      for j in range(1, depth + 1):
        made = block(inputs, width, step if j == 1 else 1, row.norm)
        self.add_module(f"stage{i}_block{j}", made)
        inputs = width
      if row.block == "basic":
        self.add_module(f"stage{i}_norm", norm(row.norm, width))

  def forward(self, images: Tensor) -> dict[int, Tensor]:
    """Args: images [B, 3, S, S]. Returns stride -> [B, h, h, C]."""
    row, stride = self.row, 2
    x = self.stem(images)
    maps = {stride: x}
    if row.stem == "imagenet":
      x, stride = F.max_pool2d(x, 3, 2, 1), 4
    for i, depth in enumerate(row.depths, 1):
      stride *= row.first_stride if i == 1 else 2
      for j in range(1, depth + 1):
        x = getattr(self, f"stage{i}_block{j}")(x)
      maps[stride] = x
      if row.block == "basic":
        maps[stride] = getattr(self, f"stage{i}_norm")(x).relu()
    return {stride: x.permute(0, 2, 3, 1) for stride, x in maps.items()}
