"""The K x K neighbourhood of a region: word similarities and Eq. 2 offsets.

A neighbour is RoIAlign of its cell followed by the mean over bins, which is
one row of interpolation weights per axis (see `roi_align`). Being linear, it
commutes with the product with the words: pooling T similarity maps instead
of D channels gives the same numbers from far fewer operations.

Letters: B batch, R regions, T words, D width, H W sides of the map, K grid;
i and j count the rows and columns of the grid, row-major as in `cells`.
"""

import jax
import jax.numpy as jnp

from slan_jax.ops.cells import (
  Window,
  broadcast_window,
  cell_centres,
  check_grid,
  neighbour_mask,
)
from slan_jax.ops.roi_align import interpolation_weights

_ORDERS = ("similarity_first", "embed_first")
_MASKED = -1e9  # finite: fully masked rows keep a defined gradient
_EMPTY = 1e-12  # squared norm under which a vector has no direction


def neighbour_similarity(
  features: jax.Array,
  centres: jax.Array,
  words: jax.Array,
  word_mask: jax.Array,
  *,
  window: Window,
  grid: int,
  roi_size: int = 7,
  sampling_ratio: int = 2,
  order: str = "similarity_first",
  cosine: bool = False,
) -> jax.Array:
  """Largest similarity of each neighbour with any word: s_j of Eq. 2.

  Args:
    features: [B, H, W, D] float, F_i.
    centres: [B, R, 2] float, (x, y) of the regions, in [0, 1] of the image.
    words: [B, T, D] float, E^T.
    word_mask: [B, T] bool, True on words that count.
    window: width and height of the neighbourhood as fractions of the image:
      one number, a pair, or an array [B, R, 2].
    grid: K, odd.
    roi_size: RoIAlign bins per side of a cell.
    sampling_ratio: samples per bin and side.
    order: "similarity_first" or "embed_first"; equal up to rounding.
    cosine: divide by the norms of neighbour and word. A neighbour's norm
      needs its embedding, so `embed_first` is then the cheaper order.

  Returns:
    [B, R, K*K] float32. Cells whose centre lies outside the image are 0 (and
    False in `neighbour_mask`), as are all cells of a text without words.

  Raises:
    ValueError: even grid, unknown order, or shapes that do not fit.
  """
  similarity = neighbour_word_similarity(
    features,
    centres,
    words,
    word_mask,
    window=window,
    grid=grid,
    roi_size=roi_size,
    sampling_ratio=sampling_ratio,
    order=order,
    cosine=cosine,
  )
  counts = word_mask[:, None, None, :]
  best = jnp.where(counts, similarity, _MASKED).max(axis=-1)
  inside = neighbour_mask(centres, window=window, grid=grid)
  return jnp.where(inside & counts.any(axis=-1), best, 0.0)


def neighbour_word_similarity(
  features: jax.Array,
  centres: jax.Array,
  words: jax.Array,
  word_mask: jax.Array,
  *,
  window: Window,
  grid: int,
  roi_size: int = 7,
  sampling_ratio: int = 2,
  order: str = "similarity_first",
  cosine: bool = False,
) -> jax.Array:
  """Similarity of each neighbour with each word.

  Args:
    features: as in `neighbour_similarity`, like all other arguments.
    centres: [B, R, 2] float.
    words: [B, T, D] float.
    word_mask: [B, T] bool.
    window: one number, a pair, or an array [B, R, 2].
    grid: K, odd.
    roi_size: RoIAlign bins per side of a cell.
    sampling_ratio: samples per bin and side.
    order: "similarity_first" or "embed_first".
    cosine: divide by the norms of neighbour and word.

  Returns:
    [B, R, K*K, T] float32, 0 at masked words and at cells whose centre lies
    outside the image.

  Raises:
    ValueError: even grid, unknown order, or shapes that do not fit.
  """
  _check(features, centres, words, grid, order)
  weights = _cell_weights(
    features, centres, window, grid, samples=roi_size * sampling_ratio
  )
  words = words.astype(jnp.float32)
  if cosine:
    words = words * _inverse_norm(words)
  if order == "embed_first" or cosine:
    embeddings = _pool_embeddings(features, *weights)
  if order == "embed_first":
    similarity = jnp.einsum("brijd,btd->brijt", embeddings, words)
  else:
    similarity = _pool_similarity_maps(features, words, *weights)
  if cosine:
    similarity = similarity * _inverse_norm(embeddings)
  similarity = similarity.reshape(*centres.shape[:2], grid**2, -1)
  inside = neighbour_mask(centres, window=window, grid=grid)
  counts = inside[..., None] & word_mask[:, None, None, :]
  return jnp.where(counts, similarity, 0.0)


def normalise_similarity(
  similarity: jax.Array,
  valid: jax.Array,
  *,
  mode: str,
  temperature: float,
) -> jax.Array:
  """Turns similarities into the weights s_j of Eq. 2.

  The paper does not say whether s_j is normalised. A softmax bounds the shift
  by (K // 2) / K of the window; raw similarities do not bound it.

  Args:
    similarity: [B, R, K*K] float.
    valid: [B, R, K*K] bool, the cells that take part.
    mode: "softmax" over the valid cells, or "raw".
    temperature: divides the similarities in the softmax.

  Returns:
    [B, R, K*K] float32, 0 at cells that are not valid.

  Raises:
    ValueError: unknown mode.
  """
  similarity = similarity.astype(jnp.float32)
  if mode == "softmax":
    scores = jnp.where(valid, similarity / temperature, _MASKED)
    similarity = jax.nn.softmax(scores, axis=-1)
  elif mode != "raw":
    raise ValueError(
      f"unknown normalisation {mode!r} of s_j; choose softmax or raw"
    )
  return jnp.where(valid, similarity, 0.0)


def neighbour_offset(
  similarity: jax.Array,
  *,
  window: Window,
  grid: int,
  pitch: str = "cell",
  swap_axes: bool = False,
) -> jax.Array:
  """Shift of each region's centre, (dx, dy) of Eq. 2.

  H_j and W_j are undefined in the paper. A "weighted summation of
  coordinates of neighbour centre points" needs the distance between the
  cells, window / K, which is the default pitch.

  Args:
    similarity: [B, R, K*K] float, weights s_j, 0 at cells that do not count.
    window: as in `neighbour_similarity`.
    grid: K, odd.
    pitch: H_j, W_j: "cell" (window / K) or "window" (the whole).
    swap_axes: Eq. 2 to the letter, where dx runs over the rows (floor(j/K),
      H_j) and dy over the columns; by default x runs over the columns, so
      that an object to the right gives dx > 0.

  Returns:
    [B, R, 2] float32, (dx, dy) in fractions of the image.

  Raises:
    ValueError: even grid, unknown pitch, or a grid that does not fit.
  """
  check_grid(grid)
  if similarity.shape[-1] != grid**2:
    raise ValueError(
      f"similarity has {similarity.shape[-1]} cells, grid={grid} has {grid**2}"
    )
  if pitch not in ("cell", "window"):
    raise ValueError(f"unknown pitch {pitch!r}; choose cell or window")
  shape = similarity.shape[:-1]
  window = broadcast_window(window, (*shape, 2))
  step = window / grid if pitch == "cell" else window
  cells = similarity.astype(jnp.float32).reshape(*shape, grid, grid)
  ranks = jnp.arange(grid, dtype=jnp.float32) - grid // 2
  right = jnp.einsum("brij,j->br", cells, ranks)
  down = jnp.einsum("brij,i->br", cells, ranks)
  if swap_axes:
    return jnp.stack([down * step[..., 1], right * step[..., 0]], axis=-1)
  return jnp.stack([right * step[..., 0], down * step[..., 1]], axis=-1)


def _cell_weights(
  features: jax.Array,
  centres: jax.Array,
  window: Window,
  grid: int,
  *,
  samples: int,
) -> tuple[jax.Array, jax.Array]:
  """Row weights [B, R, K, H] and column weights [B, R, K, W] of the cells."""
  x, y = cell_centres(centres, window, grid=grid)
  sizes = broadcast_window(window, centres.shape) / grid
  rows, columns = (
    interpolation_weights(
      centre,
      jnp.broadcast_to(sizes[..., axis, None], centre.shape),
      length=features.shape[2 - axis],
      output_size=1,
      sampling_ratio=samples,
    )[..., 0, :]
    for axis, centre in ((1, y), (0, x))
  )
  return rows, columns


def _pool_similarity_maps(
  features: jax.Array, words: jax.Array, rows: jax.Array, columns: jax.Array
) -> jax.Array:
  """[B, R, K, K, T]: the words' similarity maps first, then their pooling."""
  maps = jnp.einsum(
    "bhwd,btd->bhwt",
    features,
    words.astype(features.dtype),
    preferred_element_type=jnp.float32,
  )
  bands = jnp.einsum("brih,bhwt->briwt", rows, maps)
  return jnp.einsum("brjw,briwt->brijt", columns, bands)


def _pool_embeddings(
  features: jax.Array, rows: jax.Array, columns: jax.Array
) -> jax.Array:
  """[B, R, K, K, D] float32: the neighbours' embeddings."""
  rows, columns = rows.astype(features.dtype), columns.astype(features.dtype)
  bands = jnp.einsum("brih,bhwd->briwd", rows, features)
  return jnp.einsum(
    "brjw,briwd->brijd", columns, bands, preferred_element_type=jnp.float32
  )


def _inverse_norm(vectors: jax.Array) -> jax.Array:
  """1 / norm, and 0 (with gradient 0) for a vector of zeros."""
  square = jnp.square(vectors).sum(axis=-1, keepdims=True)
  empty = square < _EMPTY
  return jnp.where(empty, 0.0, jax.lax.rsqrt(jnp.where(empty, 1.0, square)))


def _check(
  features: jax.Array,
  centres: jax.Array,
  words: jax.Array,
  grid: int,
  order: str,
) -> None:
  check_grid(grid)
  if order not in _ORDERS:
    raise ValueError(
      f"unknown order {order!r}; choose one of {', '.join(_ORDERS)}"
    )
  if features.ndim != 4 or centres.ndim != 3 or words.ndim != 3:
    raise ValueError(
      "expected features [B, H, W, D], centres [B, R, 2], words [B, T, D]; "
      f"got shapes {features.shape}, {centres.shape}, {words.shape}"
    )
  if features.shape[-1] != words.shape[-1]:
    raise ValueError(
      f"features have width {features.shape[-1]}, words {words.shape[-1]}"
    )
