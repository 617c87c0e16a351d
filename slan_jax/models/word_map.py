"""Additions to the paper: phrases matched on a low-level feature map.

A map with a small receptive field knows only what is at a place, and a vector
per noun phrase asks for all its words at once; so the map's best answer to
the phrase is the phrase's object. The paper's own similarity, of contextual
words and pooled regions, lets any place answer for the whole caption.

Axes: B batch, N tokens, P phrases, D width, C channels, h w sides of the map,
H W sides of the finer map.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import config
from slan_jax.models.layers import gelu, l2_normalize


class WordMap(nn.Module):
  """Unit vectors of the low-level map, without any top-down path."""

  width: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, low: jax.Array) -> jax.Array:
    """Args: low [B, h, w, C]. Returns [B, h, w, `width`] float32."""
    x = nn.Dense(self.width, dtype=self.dtype, name="in")(low)
    y = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    y = gelu(nn.Dense(self.width, dtype=self.dtype, name="up")(y))
    x = x + nn.Dense(self.width, dtype=self.dtype, name="down")(y)
    return l2_normalize(nn.Dense(self.width, dtype=self.dtype, name="out")(x))


class Phrases(nn.Module):
  """One unit vector per noun phrase, from static word embeddings."""

  cfg: config.WordMap
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, embeddings: jax.Array, content: jax.Array
  ) -> dict[str, jax.Array]:
    """Composes the words of each phrase, each weighed by its place.

    Args:
      embeddings: [B, N, D] word embeddings, without context or position.
      content: [B, N] bool, as `content_tokens` returns it.

    Returns:
      vectors: [B, P, width] float32, unit length (zero where none);
      head: [B, P] int32, token of the phrase's last word; mask: [B, P] bool.
    """
    head, mask = phrase_heads(content, self.cfg.phrases)
    back = jnp.arange(self.cfg.phrase_window)[None, None]
    index = head[..., None] - back
    inside = jnp.take_along_axis(
      content[:, None], jnp.maximum(index, 0), axis=-1
    )
    # A phrase ends at the first function word to its left.
    inside = jnp.cumprod(inside & (index >= 0), axis=-1).astype(bool)
    rows = jnp.arange(embeddings.shape[0])[:, None, None]
    words = embeddings[rows, jnp.maximum(index, 0)].astype(self.dtype)
    words = jnp.where((inside & mask[..., None])[..., None], words, 0)
    vectors = nn.DenseGeneral(
      self.cfg.width, axis=(-2, -1), dtype=self.dtype, use_bias=False,
      name="compose",
    )(words)  # fmt: skip
    return {"vectors": l2_normalize(vectors), "head": head, "mask": mask}


def content_tokens(
  ids: jax.Array, mask: jax.Array, function_ids: tuple[int, ...]
) -> jax.Array:
  """Tokens that belong to phrases: real ones that are no function words.

  Args:
    ids: [B, N] int32 token ids.
    mask: [B, N] bool, real tokens.
    function_ids: ids of special tokens, articles, prepositions and the like.

  Returns:
    [B, N] bool; a text of function words alone counts as content, so that
    every text has a phrase.
  """
  table = jnp.asarray(function_ids, jnp.int32)
  is_function = jnp.any(ids[..., None] == table[None, None], axis=-1)
  inner = inner_tokens(mask)
  content = inner & ~is_function
  return jnp.where(jnp.any(content, -1, keepdims=True), content, inner)


def inner_tokens(mask: jax.Array) -> jax.Array:
  """Real tokens but the first, [CLS], and the last, [SEP]: [B, N] bool."""
  following = jnp.pad(mask[:, 1:], ((0, 0), (0, 1)))
  return mask & following & (jnp.arange(mask.shape[1]) > 0)[None]


def phrase_heads(content: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
  """The last token of each run of content tokens, first runs first.

  English noun phrases end with their head noun.

  Args:
    content: [B, N] bool.
    count: P, slots; later runs are left out.

  Returns:
    head: [B, P] int32 token index, and mask: [B, P] bool.
  """
  following = jnp.pad(content[:, 1:], ((0, 0), (0, 1)))
  is_head = content & ~following
  order = -jnp.arange(content.shape[1])[None]
  score = jnp.where(is_head, order, -content.shape[1])
  value, index = jax.lax.top_k(score, count)
  mask = value > -content.shape[1]
  return jnp.where(mask, index, 0), mask


def appearance(images: jax.Array, side: int) -> jax.Array:
  """Mean colour around each cell of a `side` x `side` grid.

  Args:
    images: [B, S, S, 3], any float range.
    side: cells per image side.

  Returns:
    [B, side, side, 3] float32.
  """
  shape = (images.shape[0], side, side, images.shape[-1])
  return jax.image.resize(images.astype(jnp.float32), shape, "linear")


def spread(
  maps: jax.Array,
  fine: jax.Array,
  coarse: jax.Array,
  *,
  window: int,
  scale: float,
  distance: float,
) -> jax.Array:
  """Spreads similarities to the finer cells that look alike and are near.

  Each fine cell takes the mean over the map's cells around it, weighted by
  exp(-scale * unlike - distance * far): joint bilateral upsampling. The
  window is walked shift by shift, so that cost grows with the cells and not
  with their square.

  Args:
    maps: [B, h, w, P] similarities.
    fine: [B, h * n, w * n, C] appearance on the finer grid.
    coarse: [B, h, w, C] appearance on the map's grid.
    window: side of the neighbourhood in cells of the map, odd.
    scale: per squared difference of appearance.
    distance: per squared distance, the image side being 2.

  Returns:
    [B, h * n, w * n, P] float32.
  """
  batch, h, w, count = maps.shape
  times, reach = fine.shape[1] // h, window // 2
  ones = jnp.ones((batch, h, w, 1), maps.dtype)
  # Channels first: the long axes come last, where the loop is vectorised.
  fine, coarse, values = (
    jnp.moveaxis(x, -1, 1)
    for x in (fine, coarse, jnp.concatenate([maps, ones], -1))
  )
  fine = fine.reshape(batch, -1, h, times, w, times)
  border = ((0, 0), (0, 0), (reach, reach), (reach, reach))
  coarse, values = jnp.pad(coarse, border), jnp.pad(values, border)
  inner = (jnp.arange(times, dtype=jnp.float32) + 0.5) / times - 0.5

  def add(shift: jax.Array, total: jax.Array) -> jax.Array:
    dy, dx = shift // window, shift % window

    def shifted(x: jax.Array) -> jax.Array:
      start, size = (0, 0, dy, dx), (batch, x.shape[1], h, w)
      return jax.lax.dynamic_slice(x, start, size)[:, :, :, None, :, None]

    unlike = jnp.square(fine - shifted(coarse)).sum(axis=1, keepdims=True)
    far = (
      jnp.square((inner - (dy - reach)) * (2 / h))[:, None, None]
      + jnp.square((inner - (dx - reach)) * (2 / w))[None, None]
    )
    weight = jnp.exp(-scale * unlike - distance * far[None, None, None])
    return total + weight * shifted(values)

  total = jnp.zeros((batch, count + 1, h, times, w, times))
  total = jax.lax.fori_loop(0, window**2, add, total)
  total = total.reshape(batch, count + 1, h * times, w * times)
  mean = total[:, :-1] / jnp.maximum(total[:, -1:], 1e-9)
  return jnp.moveaxis(mean, 1, -1)


def relative(maps: jax.Array, coarse: jax.Array) -> jax.Array:
  """Each map between its median (0) and its maximum (1).

  Args:
    maps: [B, H, W, P] similarities on the finer grid.
    coarse: [B, h, w, P] before spreading, whose median is cheaper to find.

  Returns:
    [B, H, W, P]; zero for a flat map.
  """
  cells = coarse.reshape(coarse.shape[0], -1, 1, coarse.shape[-1])
  low = jnp.median(cells, axis=1, keepdims=True)
  high = jnp.max(maps, axis=(1, 2), keepdims=True)
  return (maps - low) / jnp.maximum(high - low, 1e-6)


def soft_iou(extent: jax.Array, boxes: jax.Array) -> jax.Array:
  """Overlap of boxes with soft masks, over their union.

  Args:
    extent: [B, h, w, P] in [0, 1], how much a cell belongs to a phrase.
    boxes: [B, R, 4] cxcywh in [0, 1] of the image.

  Returns:
    [B, R, P] float32 in [0, 1].
  """
  rows = _coverage(boxes[..., 1], boxes[..., 3], extent.shape[1])
  columns = _coverage(boxes[..., 0], boxes[..., 2], extent.shape[2])
  bands = jnp.einsum("brh,bhwp->brwp", rows, extent)
  inside = jnp.einsum("brw,brwp->brp", columns, bands)
  area = jnp.sum(rows, -1) * jnp.sum(columns, -1)
  total = jnp.sum(extent, axis=(1, 2))[:, None]
  return inside / jnp.maximum(area[..., None] + total - inside, 1e-6)


def _coverage(centre: jax.Array, size: jax.Array, cells: int) -> jax.Array:
  """Covered part of each cell along one axis: [B, R, cells]."""
  low = (centre - size / 2)[..., None] * cells
  high = (centre + size / 2)[..., None] * cells
  left = jnp.arange(cells, dtype=jnp.float32)[None, None]
  return jnp.clip(jnp.minimum(high, left + 1) - jnp.maximum(low, left), 0, 1)
