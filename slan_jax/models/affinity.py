"""Affinity of neighbouring places: an addition to the paper.

A map sharpened by contrast lights the most telling part of an object only.
Places that look alike and lie near one another belong together, so a
similarity is spread over them: joint bilateral upsampling. What "alike" means
is the mean colour, or the features of the backbone's finest map, which are
learned with the rest.

Axes: B batch, h w sides of the map, H W = n h, n w sides of the finer one,
J = window * window cells around a cell, C channels, P phrases.
"""

import math

import jax
import jax.numpy as jnp


def look(cue: jax.Array, side: int) -> jax.Array:
  """A cue on a `side` x `side` grid: averaged down or interpolated up.

  Args:
    cue: [B, S, S, C], colours or features, any float range.
    side: cells per image side.

  Returns:
    [B, side, side, C] float32.
  """
  shape = (cue.shape[0], side, side, cue.shape[-1])
  return jax.image.resize(cue.astype(jnp.float32), shape, "linear")


def neighbour_weights(
  fine: jax.Array,
  coarse: jax.Array,
  *,
  window: int,
  scale: float,
  distance: float,
) -> jax.Array:
  """Weights of the map's cells around each finer cell, which sum to 1.

  They belong to the image alone, so that every text can use them again.

  Args:
    fine: [B, H, W, C] cue on the finer grid.
    coarse: [B, h, w, C] cue on the map's grid.
    window: side of the neighbourhood in cells of the map, odd.
    scale: per squared difference of the cue.
    distance: per squared distance, the image side being 2.

  Returns:
    [B, J, h, n, w, n] float32: softmax over J of -scale * unlike - distance *
    far, for the cells inside the map.
  """
  batch, h, w, channels = coarse.shape
  times = fine.shape[1] // h
  fine = fine.reshape(batch, h, times, w, times, channels)
  fine = jnp.moveaxis(fine, 2, 3).reshape(batch, h, w, times**2, channels)
  around = _windows(coarse, window)
  unlike = (
    jnp.sum(jnp.square(fine), -1)[..., None]
    + jnp.sum(jnp.square(around), -1)[..., None, :]
    - 2 * jnp.einsum("bhwnc,bhwjc->bhwnj", fine, around)
  )
  shift = jnp.arange(window, dtype=jnp.float32) - window // 2
  inner = (jnp.arange(times, dtype=jnp.float32) + 0.5) / times - 0.5
  apart = jnp.square(inner[:, None] - shift[None])  # [n, window]
  far = (
    apart[:, None, :, None] * (2 / h) ** 2
    + apart[None, :, None, :] * (2 / w) ** 2
  ).reshape(times**2, window**2)
  logits = -scale * unlike - distance * far[None, None, None]
  exists = _windows(jnp.ones((1, h, w, 1)), window)[..., 0][..., None, :]
  weights = jax.nn.softmax(jnp.where(exists > 0, logits, -jnp.inf), axis=-1)
  weights = weights.reshape(batch, h, w, times, times, window**2)
  return jnp.transpose(weights, (0, 5, 1, 3, 2, 4))


def spread(maps: jax.Array, weights: jax.Array) -> jax.Array:
  """Mean of a map over the cells around each finer cell.

  Neighbour by neighbour, the long axes last: several times faster on a CPU
  than one einsum of many small matrices.

  Args:
    maps: [B, h, w, P] similarities.
    weights: [B, J, h, n, w, n] of `neighbour_weights`.

  Returns:
    [B, H, W, P] float32.
  """
  batch, h, w, count = maps.shape
  neighbours, times = weights.shape[1], weights.shape[3]
  window = math.isqrt(neighbours)
  reach = window // 2
  border = ((0, 0), (0, 0), (reach, reach), (reach, reach))
  values = jnp.pad(jnp.moveaxis(maps, -1, 1), border)

  def add(j: jax.Array, total: jax.Array) -> jax.Array:
    start, size = (0, 0, j // window, j % window), (batch, count, h, w)
    shifted = jax.lax.dynamic_slice(values, start, size)
    weight = jax.lax.dynamic_index_in_dim(weights, j, axis=1)
    return total + weight * shifted[:, :, :, None, :, None]

  total = jnp.zeros((batch, count, h, times, w, times))
  total = jax.lax.fori_loop(0, neighbours, add, total)
  return jnp.moveaxis(total.reshape(batch, count, h * times, w * times), 1, -1)


def _windows(x: jax.Array, window: int) -> jax.Array:
  """The cells around each cell, zero outside: [B, h, w, C] -> [.., J, C]."""
  _, h, w, _ = x.shape
  reach = window // 2
  border = ((0, 0), (reach, reach), (reach, reach), (0, 0))
  padded = jnp.pad(x, border)
  shifted = [
    padded[:, dy : dy + h, dx : dx + w]
    for dy in range(window)
    for dx in range(window)
  ]
  return jnp.stack(shifted, axis=3)
