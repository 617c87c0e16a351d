"""Sine codes of positions: of points and of a map's cells.

Axis letters: B batch, H W map sides, D width. All in float32.
"""

import functools
import math

import jax
import jax.numpy as jnp


def sine_position(
  points: jax.Array, width: int, temperature: float = 10_000.0
) -> jax.Array:
  """DETR's sine code of points: half the channels for y, half for x.

  Args:
    points: [..., 2] x and y in [0, 1] of the image.
    width: D, a multiple of 4.
    temperature: ratio of the longest to the shortest wave.

  Returns:
    [..., D] float32.

  Raises:
    ValueError: D is not a multiple of 4.
  """
  if width % 4:
    raise ValueError(f"sine position: width {width} is not a multiple of 4")
  y, x = points[..., 1], points[..., 0]
  code = functools.partial(
    _sine, width=width // 2, scale=2 * math.pi, temperature=temperature
  )
  return jnp.concatenate([code(y), code(x)], axis=-1)


def sine_position_2d(
  height: int, columns: int, width: int, mask: jax.Array | None = None
) -> jax.Array:
  """DETR's code of the cells of a map: cell (i, j) is ((j+1)/W, (i+1)/H).

  Args:
    height: H.
    columns: W.
    width: D, a multiple of 4.
    mask: bool [B, H, W], True = image, for padded images; or None.

  Returns:
    [H, W, D] float32, or [B, H, W, D] with a mask.
  """
  if mask is None:
    rows = jnp.arange(1, height + 1, dtype=jnp.float32)
    cols = jnp.arange(1, columns + 1, dtype=jnp.float32)
    y, x = jnp.meshgrid(rows, cols, indexing="ij")
  else:
    y = jnp.cumsum(mask, axis=-2, dtype=jnp.float32)
    x = jnp.cumsum(mask, axis=-1, dtype=jnp.float32)
  epsilon = 1e-6  # as DETR
  points = jnp.stack(
    [x / (x[..., :, -1:] + epsilon), y / (y[..., -1:, :] + epsilon)], axis=-1
  )
  return sine_position(points, width)


def _sine(
  position: jax.Array, width: int, scale: float, temperature: float
) -> jax.Array:
  """sin, cos pairs: [...] -> [..., width], wave i of length T^(2i/width)."""
  wave = jnp.arange(width // 2, dtype=jnp.float32)
  rate = scale * temperature ** (-2 * wave / width)
  shape = (1,) * position.ndim + rate.shape
  angle = position[..., None].astype(jnp.float32) * rate.reshape(shape)
  pairs = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
  return pairs.reshape(*position.shape, width)
