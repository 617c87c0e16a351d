"""Multi-scale maps F_1..F_L (section 3.2.1).

Axis letters: B batch, h w map sides, C backbone channels, D width, L levels.
The paper says that a vision decoder after V makes them and names neither its
layers nor its strides; this composition meets its four parameter totals.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import config, layers

Maps = dict[int, jax.Array]
Levels = tuple[jax.Array, tuple[jax.Array, ...]]  # V and F_1..F_L


class Pyramid(nn.Module):
  """F_1..F_L and V at width D.

  `source` "decoder": V alone, per level an upsampling and `convs` 3x3
  convolutions, one level after the other. "encoder" (Table 10): the backbone's
  own map of each stride through a 1x1 convolution. "fpn": the same plus a
  top-down sum, then LayerNorm and `convs` 3x3 convolutions. In the last two,
  levels of one scale are one map.
  """

  pyramid: config.Pyramid
  width: int
  dtype: layers.Dtype
  remat: str

  @nn.compact
  def __call__(self, maps: Maps, *, levels: bool = True) -> Levels:
    """All levels.

    Args:
      maps: stride -> [B, h, w, C]; V is the one of the largest stride.
      levels: False makes V alone, and no maps.

    Returns:
      V [B, h, w, D] and L maps [B, h * scale, w * scale, D].

    Raises:
      ValueError: unknown source.
    """
    sources = {
      "decoder": self._decoder,
      "encoder": self._encoder,
      "fpn": self._fpn,
    }
    if self.pyramid.source not in sources:
      raise ValueError(
        f"model.pyramid.source: {self.pyramid.source!r}; choose one of "
        f"{', '.join(sources)}"
      )
    return sources[self.pyramid.source](
      maps, self.pyramid.scales if levels else ()
    )

  def _project(self, x: jax.Array, name: str) -> jax.Array:
    return nn.Dense(self.width, dtype=self.dtype, name=name)(x)

  def _convs(self, x: jax.Array, name: str) -> jax.Array:
    def convs(pyramid: Pyramid, x: jax.Array) -> jax.Array:
      return pyramid._norms_of_convs(x, name)

    return layers.remat(convs, self.remat)(self, x)

  def _norms_of_convs(self, x: jax.Array, name: str) -> jax.Array:
    for i in range(self.pyramid.convs):
      conv = nn.Conv(
        self.width, (3, 3), dtype=self.dtype, name=f"{name}_conv{i + 1}"
      )
      norm = nn.GroupNorm(
        math.gcd(32, self.width), dtype=self.dtype, name=f"{name}_norm{i + 1}"
      )
      x = nn.relu(norm(conv(x)))
    return x

  def _decoder(self, maps: Maps, scales: tuple[int, ...]) -> Levels:
    v = x = self._project(maps[max(maps)], "input")
    levels = []
    for i, scale in enumerate(scales):
      x = self._convs(resize(x, scale * v.shape[1]), f"level{i + 1}")
      levels.append(x)
    return v, tuple(levels)

  def _encoder(self, maps: Maps, scales: tuple[int, ...]) -> Levels:
    top = max(maps)
    side = maps[top].shape[1]
    made = {}
    for scale in sorted({1, *scales}):
      x = maps[_nearest(maps, top / scale)]
      made[scale] = resize(self._project(x, f"scale{scale}"), scale * side)
    return made[1], tuple(made[scale] for scale in scales)

  def _fpn(self, maps: Maps, scales: tuple[int, ...]) -> Levels:
    top = max(maps)
    side = maps[top].shape[1]
    made, above = {}, None
    for scale in sorted({1, *scales}):
      name = f"scale{scale}"
      x = maps[_nearest(maps, top / scale)]
      x = resize(self._project(x, name), scale * side)
      if above is not None:
        x = x + resize(above, scale * side)
      above = x
      normed = layers.layer_norm(1e-6, self.dtype, f"{name}_norm")(x)
      made[scale] = self._convs(normed, name)
    return made[1], tuple(made[scale] for scale in scales)


def _nearest(maps: Maps, stride: float) -> int:
  """The stride that a backbone offers closest to the wanted one, in octaves."""
  return min(maps, key=lambda own: (abs(math.log2(own / stride)), own))


def resize(x: jax.Array, side: int) -> jax.Array:
  """A square map at another side: repeated cells where whole, else bilinear.

  Args:
    x: [B, h, h, D].
    side: cells.

  Returns:
    [B, side, side, D].
  """
  batch, height, _, width = x.shape
  if side == height:
    return x
  if side % height:
    shape = (batch, side, side, width)
    return jax.image.resize(x, shape, "bilinear")
  times = side // height
  x = jnp.broadcast_to(
    x[:, :, None, :, None], (batch, height, times, height, times, width)
  )
  return x.reshape(batch, side, side, width)
