"""Multi-scale maps F_1..F_L (section 3.2.1).

Axis letters: B batch, h map side, C backbone channels, D width, L levels.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from slan_torch.layers import GroupNorm

Maps = dict[int, Tensor]


class Pyramid(nn.Module):
  """F_1..F_L and V at width D.

  `source` "decoder": V alone, upsampled and convolved level by level.
  "encoder" (Table 10): the backbone's own maps through a linear map. "fpn": the
  same plus a top-down sum. `channels` is stride -> channels of the backbone.
  """

  def __init__(self, pyramid, width: int, channels: dict[int, int]):
    super().__init__()
    self.pyramid, self.top = pyramid, max(channels)
    self.strides = tuple(channels)
    if pyramid.source not in ("decoder", "encoder", "fpn"):
      raise ValueError(f"model.pyramid.source: unknown {pyramid.source!r}")
    if pyramid.source == "decoder":
      self.input = nn.Linear(channels[self.top], width)
      for i in range(len(pyramid.scales)):
        self._add_convs(f"level{i + 1}", width)
      return
    for scale in self._scales():
      stride = self._nearest(scale)
      name = f"scale{scale}"
      self.add_module(name, nn.Linear(channels[stride], width))
      if pyramid.source == "fpn":
        self.add_module(f"{name}_norm", nn.LayerNorm(width, eps=1e-6))
        self._add_convs(name, width)

  def forward(self, maps: Maps) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Args: stride -> [B, h, h, C]. Returns V and the L maps, [B, h, h, D]."""
    if self.pyramid.source == "decoder":
      return self._decoder(maps)
    return self._by_scale(maps)

  def _decoder(self, maps: Maps) -> tuple[Tensor, tuple[Tensor, ...]]:
    v = x = self.input(maps[self.top])
    levels = []
    for i, scale in enumerate(self.pyramid.scales):
      x = self._convs(resize(x, scale * v.shape[1]), f"level{i + 1}")
      levels.append(x)
    return v, tuple(levels)

  def _by_scale(self, maps: Maps) -> tuple[Tensor, tuple[Tensor, ...]]:
    side = maps[self.top].shape[1]
    made, above = {}, None
    for scale in self._scales():
      name = f"scale{scale}"
      x = getattr(self, name)(maps[self._nearest(scale)])
      made[scale] = x = resize(x, scale * side)
      if self.pyramid.source == "fpn":
        if above is not None:
          x = x + resize(above, scale * side)
        above = x
        x = getattr(self, f"{name}_norm")(x)
        made[scale] = self._convs(x, name)
    return made[1], tuple(made[scale] for scale in self.pyramid.scales)

  def _scales(self) -> list[int]:
    return sorted({1, *self.pyramid.scales})

  def _nearest(self, scale: int) -> int:
    """The stride of the backbone closest to the wanted one, in octaves."""
    wanted = self.top / scale
    return min(self.strides, key=lambda s: (abs(math.log2(s / wanted)), s))

  def _add_convs(self, name: str, width: int) -> None:
    for i in range(1, self.pyramid.convs + 1):
      conv = nn.Conv2d(width, width, 3, padding=1)
      norm = GroupNorm(math.gcd(32, width), width, eps=1e-6)
      self.add_module(f"{name}_conv{i}", conv)
      self.add_module(f"{name}_norm{i}", norm)

  def _convs(self, x: Tensor, name: str) -> Tensor:
    x = x.permute(0, 3, 1, 2)
    for i in range(1, self.pyramid.convs + 1):
      x = getattr(self, f"{name}_conv{i}")(x)
      x = getattr(self, f"{name}_norm{i}")(x).relu()
    return x.permute(0, 2, 3, 1)


def resize(x: Tensor, side: int) -> Tensor:
  """A square map at another side: repeated cells where whole, else bilinear.

  Args:
    x: [B, h, h, D].
    side: cells.

  Returns:
    [B, side, side, D].
  """
  height = x.shape[1]
  if side == height:
    return x
  if side % height == 0:
    times = side // height
    return x.repeat_interleave(times, 1).repeat_interleave(times, 2)
  return interpolate(x, side)


def interpolate(x: Tensor, side: int) -> Tensor:
  """Bilinear with antialiasing, as `jax.image.resize`: [B, side, side, D]."""
  x = x.permute(0, 3, 1, 2)
  x = F.interpolate(
    x, (side, side), mode="bilinear", align_corners=False, antialias=True
  )
  return x.permute(0, 2, 3, 1)
