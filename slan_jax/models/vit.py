"""Vision transformers (section 4.1): pre-LN, learned positions.

Axis letters: B batch, S image side, h map side, N = 1 + h * h tokens (the
class token first), D width, L layers.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.models import config, layers

_EPSILON = 1e-6  # of LayerNorm, as timm; checkpoints were trained with it

Carry = tuple[jax.Array, jax.Array | None]


class Layer(nn.Module):
  """Self-attention and feed-forward, pre-LN."""

  row: config.VitRow
  dtype: layers.Dtype

  @nn.compact
  def __call__(self, carry: Carry, index: jax.Array) -> tuple[Carry, None]:
    """Args: carry of x and x after `middle_layer`, [B, N, D]; index int []."""
    x, middle = carry
    row = self.row
    attention = layers.MultiHeadAttention(
      row.width, row.heads, self.dtype, name="attention"
    )
    y = layers.layer_norm(_EPSILON, self.dtype, "attention_norm")(x)
    x = x + attention(y, y, y)
    mlp = layers.Mlp(row.mlp_width, layers.gelu, self.dtype, name="mlp")
    x = x + mlp(layers.layer_norm(_EPSILON, self.dtype, "mlp_norm")(x))
    if middle is not None:
      middle = jnp.where(index + 1 == row.middle_layer, x, middle)
    return (x, middle), None


class Vit(nn.Module):
  """Vision transformer of a row of `BACKBONES`.

  The class token takes part, as in published checkpoints, and is left out of
  the maps. `image_size` sets the size of the position table.
  """

  row: config.VitRow
  image_size: int
  dtype: layers.Dtype
  remat: str

  @nn.compact
  def __call__(
    self, images: jax.Array, *, middle: bool = False
  ) -> dict[int, jax.Array] | tuple[dict[int, jax.Array], jax.Array]:
    """The map of the last layer.

    Args:
      images: [B, S, S, 3] normalised; another S than `image_size` resizes the
        position table.
      middle: also return the map after `middle_layer` (low-level features).

    Returns:
      patch -> [B, S / patch, S / patch, D]; with `middle`, and that map.

    Raises:
      ValueError: S is not a multiple of the patch.
    """
    row = self.row
    batch, side = images.shape[0], images.shape[1] // row.patch
    if images.shape[1] % row.patch or self.image_size % row.patch:
      raise ValueError(
        f"image side {images.shape[1]} (table for {self.image_size}) is not a "
        f"multiple of the patch, {row.patch}"
      )
    patches = nn.Conv(
      row.width,
      (row.patch, row.patch),
      strides=row.patch,
      padding="VALID",
      dtype=self.dtype,
      kernel_init=nn.initializers.lecun_normal(),
      name="patches",
    )(images.astype(self.dtype))
    init = nn.initializers.normal(0.02)
    token = self.param("class_token", init, (1, row.width))
    rows = 1 + (self.image_size // row.patch) ** 2
    table = self.param("position", init, (rows, row.width))
    x = jnp.concatenate(
      [
        jnp.broadcast_to(token[None], (batch, 1, row.width)).astype(self.dtype),
        patches.reshape(batch, side * side, row.width),
      ],
      axis=1,
    )
    x = x + resize_positions(table, side)[None].astype(self.dtype)
    stacked = layers.stack(Layer, row.layers, self.remat, in_axes=(0,))
    carry = x, jnp.zeros_like(x) if middle else None
    (x, low), _ = stacked(row, self.dtype, name="layers")(
      carry, jnp.arange(row.layers)
    )

    def cells(x: jax.Array) -> jax.Array:
      return x[:, 1:].reshape(batch, side, side, row.width)

    x = layers.layer_norm(_EPSILON, self.dtype, "norm")(x)
    maps = {row.patch: cells(x)}
    return (maps, cells(low)) if middle else maps


def resize_positions(table: jax.Array, side: int) -> jax.Array:
  """A position table for another number of patches, bicubic, as ViT's paper.

  Args:
    table: [1 + n * n, D], the class token's position first.
    side: patches along a side.

  Returns:
    [1 + side * side, D].
  """
  old = math.isqrt(table.shape[0] - 1)
  if old == side:
    return table
  width = table.shape[1]
  weights = jnp.asarray(_cubic_weights(old, side), table.dtype)
  grid = table[1:].reshape(old, old, width)
  grid = jnp.einsum("yi,xj,ijd->yxd", weights, weights, grid)
  return jnp.concatenate([table[:1], grid.reshape(-1, width)])


def _cubic_weights(old: int, new: int) -> np.ndarray:
  """[new, old] weights of torch's bicubic interpolation (a = -.75).

  Written out because `jax.image` has another kernel, a = -.5, which would
  move published checkpoints when their images are resized.
  """
  a = -0.75
  centre = (np.arange(new) + 0.5) * old / new - 0.5
  weights = np.zeros((new, old))
  for shift in (-1, 0, 1, 2):
    index = np.floor(centre).astype(int) + shift
    t = np.abs(centre - index)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    columns = np.clip(index, 0, old - 1)  # the border is repeated
    np.add.at(weights, (np.arange(new), columns), np.where(t <= 1, near, far))
  return weights
