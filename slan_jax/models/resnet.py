"""Residual networks as vision encoders (section 4.1).

Axis letters: B batch, S image side, h w map sides, C channels. Images are
[B, S, S, 3], normalised. Convolutions pad as torch does (symmetric), so that
imported weights give the same maps.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import config, layers

# Variance of torchvision's and of the original paper's initialisation.
_KERNEL_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ConvNorm(nn.Module):
  """Convolution without bias, then a norm, then ReLU if `relu`."""

  width: int
  size: int
  norm: str
  dtype: layers.Dtype
  stride: int = 1
  relu: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Args: x [B, h, w, C]. Returns [B, h / stride, w / stride, width]."""
    x = convolution(self.width, self.size, self.stride, self.dtype, "conv")(x)
    x = Norm(self.norm, self.dtype, name="norm")(x)
    return nn.relu(x) if self.relu else x


def convolution(
  width: int, size: int, stride: int, dtype: layers.Dtype, name: str
) -> nn.Conv:
  """size x size convolution, no bias, padded so that sides shrink by stride.

  An even kernel is centred on its cell; an odd one cannot be, and is padded as
  torchvision does.
  """
  pad = (size - 1) // 2 if size % 2 else (size - stride) // 2
  return nn.Conv(
    width,
    (size, size),
    strides=stride,
    padding=pad,
    use_bias=False,
    dtype=dtype,
    kernel_init=_KERNEL_INIT,
    name=name,
  )


class Norm(nn.Module):
  """Norm of a map: "group", "layer" (channels only) or "frozen_batch".

  "frozen_batch" applies imported statistics, as DETR does: none of its four
  arrays gets a gradient.
  """

  kind: str
  dtype: layers.Dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Args: x [B, h, w, C]. Returns the same shape in `dtype`."""
    width = (x.shape[-1],)
    scale = self.param("scale", nn.initializers.ones, width)
    bias = self.param("bias", nn.initializers.zeros, width)
    scale, bias = scale[None, None, None], bias[None, None, None]
    x = x.astype(jnp.float32)
    if self.kind == "group":
      mean, variance = _group_moments(x, math.gcd(32, x.shape[-1]))
    elif self.kind == "layer":
      mean = jnp.mean(x, axis=-1, keepdims=True)
      variance = jnp.var(x, axis=-1, mean=mean, keepdims=True)
    elif self.kind == "frozen_batch":
      mean = self.param("mean", nn.initializers.zeros, width)[None, None, None]
      variance = self.param("var", nn.initializers.ones, width)
      variance = variance[None, None, None]
      frozen = jax.lax.stop_gradient((scale, bias, mean, variance))
      scale, bias, mean, variance = frozen
    else:
      raise ValueError(
        f"backbone norm {self.kind!r}: choose "
        '"group", "layer" or "frozen_batch"'
      )
    gain = scale * jax.lax.rsqrt(variance + 1e-5)
    if self.kind == "layer":
      return ((x - mean) * gain + bias).astype(self.dtype)
    # One gain and one shift per channel: a single pass over the map.
    return (x * gain + (bias - mean * gain)).astype(self.dtype)


def _group_moments(x: jax.Array, groups: int) -> tuple[jax.Array, jax.Array]:
  """Mean and variance of each group of channels: two [B, 1, 1, C] arrays.

  Channels are averaged over the map first: the large array is read once and
  never reshaped, which is several times faster on CPU.
  """
  moments = jnp.stack([x.mean((1, 2)), jnp.square(x).mean((1, 2))])
  grouped = moments.reshape(2, x.shape[0], groups, -1).mean(-1)
  mean, square = jnp.repeat(grouped, x.shape[-1] // groups, axis=-1)
  variance = jnp.maximum(square - jnp.square(mean), 0.0)
  return mean[:, None, None], variance[:, None, None]


class Bottleneck(nn.Module):
  """1x1, 3x3 (strided), 1x1 with a shortcut: ResNet v1.5, as torchvision."""

  width: int
  stride: int
  norm: str
  dtype: layers.Dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Args: x [B, h, w, C]. Returns [B, h / stride, w / stride, width]."""

    def unit(width: int, size: int, name: str, **options) -> ConvNorm:
      return ConvNorm(width, size, self.norm, self.dtype, name=name, **options)

    inner = self.width // 4
    y = unit(inner, 1, "unit1")(x)
    y = unit(inner, 3, "unit2", stride=self.stride)(y)
    y = unit(self.width, 1, "unit3", relu=False)(y)
    if x.shape != y.shape:
      shortcut = unit(self.width, 1, "shortcut", stride=self.stride, relu=False)
      x = shortcut(x)
    return nn.relu(x + y)


class Basic(nn.Module):
  """Pre-activation block of two 3x3 convolutions; a strided one goes before.

  The small rows use it: the identity path lets them train in minutes. The
  strided kernel has an even side, so that it is centred on its cell: an odd
  one looks half a cell up and left, and boxes would lie beside their objects.
  """

  width: int
  stride: int
  norm: str
  dtype: layers.Dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Args: x [B, h, w, C]. Returns [B, h / stride, w / stride, width]."""

    def conv(size: int, name: str, stride: int = 1) -> nn.Conv:
      return convolution(self.width, size, stride, self.dtype, name)

    def activate(x: jax.Array, name: str) -> jax.Array:
      return nn.relu(Norm(self.norm, self.dtype, name=name)(x))

    if self.stride > 1 or x.shape[-1] != self.width:
      size = 2 * self.stride if self.stride > 1 else 3
      x = conv(size, "reduce", self.stride)(x)
    y = conv(3, "conv1")(activate(x, "norm1"))
    return x + conv(3, "conv2")(activate(y, "norm2"))


class ResNet(nn.Module):
  """Residual network of a row of `BACKBONES`."""

  row: config.ResNetRow
  dtype: layers.Dtype
  remat: str = "none"

  @nn.compact
  def __call__(self, images: jax.Array) -> dict[int, jax.Array]:
    """All maps of the network.

    Args:
      images: [B, S, S, 3] normalised.

    Returns:
      stride -> [B, S / stride, S / stride, C]: the stem's and every stage's.

    Raises:
      ValueError: unknown stem or block.
    """
    row = self.row
    blocks = {"bottleneck": Bottleneck, "basic": Basic}
    if row.stem not in ("imagenet", "patch") or row.block not in blocks:
      raise ValueError(f"backbone: unknown stem or block in {row}")
    size = 7 if row.stem == "imagenet" else 4
    x = ConvNorm(row.stem_width, size, row.norm, self.dtype, 2, name="stem")(
      images.astype(self.dtype)
    )
    stride = 2
    maps = {stride: x}
    if row.stem == "imagenet":
      x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
      stride = 4
    block = layers.remat(blocks[row.block], self.remat)
    for i, (width, depth) in enumerate(zip(row.widths, row.depths)):
      step = 2 if i else row.first_stride
      stride *= step
      for j in range(depth):
        name = f"stage{i + 1}_block{j + 1}"
        x = block(width, 1 if j else step, row.norm, self.dtype, name=name)(x)
      if row.block == "basic":
        norm = Norm(row.norm, self.dtype, name=f"stage{i + 1}_norm")
        maps[stride] = nn.relu(norm(x))
      else:
        maps[stride] = x
    return maps
