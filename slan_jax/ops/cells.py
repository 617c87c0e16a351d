"""The cells of a region's K x K neighbourhood (section 3.2.3).

Letters: B batch, R regions, K grid. Cells are row-major: cell k is row k // K
(downwards) and column k % K (to the right). Coordinates are fractions of the
image, x before y.
"""

import jax
import jax.numpy as jnp

Window = float | tuple[float, float] | jax.Array


def neighbour_boxes(
  centres: jax.Array, *, window: Window, grid: int
) -> jax.Array:
  """The cells of each neighbourhood.

  Args:
    centres: [B, R, 2] float, (x, y) in [0, 1] of the image.
    window: as in `broadcast_window`.
    grid: K, odd.

  Returns:
    [B, R, K*K, 4] float32, cxcywh in fractions of the image.
  """
  x, y = cell_centres(centres, window, grid=grid)
  x, y = jnp.broadcast_arrays(x[..., None, :], y[..., :, None])
  cells = jnp.stack([x, y], axis=-1).reshape(*centres.shape[:2], grid**2, 2)
  sizes = broadcast_window(window, centres.shape)[..., None, :] / grid
  sizes = jnp.broadcast_to(sizes, cells.shape)
  return jnp.concatenate([cells, sizes], axis=-1)


def neighbour_mask(
  centres: jax.Array, *, window: Window, grid: int
) -> jax.Array:
  """Which cells have their centre inside the image (borders included).

  Args:
    centres: [B, R, 2] float, (x, y) in [0, 1] of the image.
    window: as in `broadcast_window`.
    grid: K, odd.

  Returns:
    [B, R, K*K] bool.
  """
  cells = neighbour_boxes(centres, window=window, grid=grid)[..., :2]
  return ((cells >= 0.0) & (cells <= 1.0)).all(axis=-1)


def cell_centres(
  centres: jax.Array, window: Window, *, grid: int
) -> tuple[jax.Array, jax.Array]:
  """Centres of the grid's columns and rows, one axis each.

  Args:
    centres: [B, R, 2] float, (x, y).
    window: width and height, as in `broadcast_window`.
    grid: K, odd.

  Returns:
    x of the columns and y of the rows, each [B, R, K] float32.
  """
  check_grid(grid)
  ranks = jnp.arange(grid, dtype=jnp.float32) - grid // 2
  pitch = broadcast_window(window, centres.shape) / grid
  x, y = (
    centres[..., axis, None].astype(jnp.float32)
    + ranks[None, None, :] * pitch[..., axis, None]
    for axis in (0, 1)
  )
  return x, y


def broadcast_window(window: Window, shape: tuple[int, ...]) -> jax.Array:
  """One window per region.

  Args:
    window: width and height as fractions of the image: one number for both,
      a pair, or an array [B, R, 2].
    shape: (B, R, 2).

  Returns:
    [B, R, 2] float32.
  """
  return jnp.broadcast_to(jnp.asarray(window, jnp.float32), shape)


def check_grid(grid: int) -> None:
  """Refuses a grid without a central cell: it would bias every offset.

  Raises:
    ValueError: `grid` is even or not positive.
  """
  if grid < 1 or grid % 2 == 0:
    raise ValueError(f"grid must be odd and positive, got {grid}")
