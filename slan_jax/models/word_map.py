"""Additions to the paper: phrases matched on a low-level feature map.

A map with a small receptive field knows an object and not the scene, and a
vector per noun phrase asks for all its words at once; so the map's best answer
to the phrase is the phrase's object. The paper's own similarity, of contextual
words and pooled regions, lets any place answer for the whole caption.

Axes: B batch, N tokens, P phrases, D width, C channels, h w sides of the map,
H W sides of the finer map.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import config
from slan_jax.models.layers import gelu, l2_normalize

# Tokens before and after a phrase that may tell where it is: "to the left of a"
# and "on the left".
BEFORE, AFTER = 4, 4
MOST_RISE = 5.0  # of the exponent of a slope over a nearly flat map


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


def places(height: int, width: int) -> jax.Array:
  """x and y of every cell's centre in [-1, 1]: [h, w, 2] float32."""
  y = (2 * jnp.arange(height, dtype=jnp.float32) + 1) / height - 1
  x = (2 * jnp.arange(width, dtype=jnp.float32) + 1) / width - 1
  return jnp.stack(jnp.meshgrid(x, y), axis=-1)


def with_places(cells: jax.Array) -> jax.Array:
  """Adds x and y in [-1, 1] to map vectors: [B, h, w, C] -> [B, h, w, C + 2].

  The product with a phrase's vector then holds what the words around the
  phrase say of its place, as a slope over the image.
  """
  shape = cells.shape[:3]
  grid = jnp.broadcast_to(places(*shape[1:])[None], (*shape, 2))
  return jnp.concatenate([cells, grid.astype(cells.dtype)], axis=-1)


class Phrases(nn.Module):
  """One unit vector per noun phrase, from static word embeddings."""

  cfg: config.WordMap
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, embeddings: jax.Array, content: jax.Array, inner: jax.Array
  ) -> dict[str, jax.Array]:
    """Composes the words of each phrase, each weighed by its place.

    Args:
      embeddings: [B, N, D] word embeddings, without context or position.
      content: [B, N] bool, as `content_tokens` returns it.
      inner: [B, N] bool, as `inner_tokens` returns it.

    Returns:
      vectors: [B, P, width] float32, unit length (zero where none); with
      `place_bound`, [B, P, width + 2], a slope along x and y behind it;
      head: [B, P] int32, token of the phrase's last word; length: [B, P]
      int32, its tokens; mask: [B, P] bool.
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
    vectors = l2_normalize(vectors)
    length = jnp.sum(inside, axis=-1, dtype=jnp.int32)
    if self.cfg.place_bound:
      slope = self._slope(embeddings, inner, head + 1 - length, head)
      slope = jnp.where(mask[..., None], slope, 0.0)
      vectors = jnp.concatenate([vectors, slope], axis=-1)
    return {"vectors": vectors, "head": head, "length": length, "mask": mask}

  def _slope(
    self,
    embeddings: jax.Array,
    inner: jax.Array,
    first: jax.Array,
    last: jax.Array,
  ) -> jax.Array:
    """What the words around a phrase say of its place: [B, P, 2] float32.

    They are read together, for "left of a star" and "on the left and a star"
    differ. No words, no slope; and none before training.
    """
    back = first[..., None] - 1 - jnp.arange(BEFORE)[None, None]
    onward = last[..., None] + 1 + jnp.arange(AFTER)[None, None]
    index = jnp.concatenate([back, onward], axis=-1)
    clipped = jnp.clip(index, 0, inner.shape[1] - 1)
    exists = jnp.take_along_axis(inner[:, None], clipped, axis=-1)
    exists &= index == clipped
    rows = jnp.arange(inner.shape[0])[:, None, None]
    words = embeddings[rows, clipped].astype(self.dtype)
    words = jnp.where(exists[..., None], words, 0)
    hidden = nn.DenseGeneral(
      self.cfg.width, axis=(-2, -1), dtype=self.dtype, use_bias=False,
      name="place_in",
    )(words)  # fmt: skip
    slope = nn.Dense(
      2, use_bias=False, kernel_init=nn.initializers.zeros, name="place_out",
      dtype=jnp.float32,
    )(gelu(hidden))  # fmt: skip
    return self.cfg.place_bound * jnp.tanh(slope)


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


def sought_tokens(mask: jax.Array, words: str) -> jax.Array:
  """Tokens whose similarity may move a region: [B, N] bool.

  Args:
    mask: [B, N] bool, real tokens.
    words: "all" of them, else without [CLS] and [SEP].
  """
  return mask if words == "all" else inner_tokens(mask)


def phrase_heads(content: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
  """The last token of each run of content tokens, first runs first.

  English noun phrases end with their head noun.

  Args:
    content: [B, N] bool.
    count: P, slots; later runs are left out. There may be more than tokens.

  Returns:
    head: [B, P] int32 token index, and mask: [B, P] bool.
  """
  following = jnp.pad(content[:, 1:], ((0, 0), (0, 1)))
  is_head = content & ~following
  order = -jnp.arange(content.shape[1])[None]
  score = jnp.where(is_head, order, -content.shape[1])
  value, index = jax.lax.top_k(score, min(count, content.shape[1]))
  mask = value > -content.shape[1]
  rest = ((0, 0), (0, count - index.shape[1]))
  return jnp.pad(jnp.where(mask, index, 0), rest), jnp.pad(mask, rest)


def relative(
  maps: jax.Array, coarse: jax.Array, slope: jax.Array | None = None
) -> jax.Array:
  """Each map between its median (0) and its maximum (1).

  A slope raises and lowers what lies above the median, as much at the maximum
  as if it had been added to the similarity, and not the ground around it: boxes
  follow objects, not the slope.

  Args:
    maps: [B, H, W, P] similarities on the finer grid.
    coarse: [B, h, w, P] before spreading, whose median is cheaper to find.
    slope: [B, P, 2] of `Phrases`, or None.

  Returns:
    [B, H, W, P]; zero for a flat map.
  """
  cells = coarse.reshape(coarse.shape[0], -1, 1, coarse.shape[-1])
  low = jnp.median(cells, axis=1, keepdims=True)
  high = jnp.max(maps, axis=(1, 2), keepdims=True)
  contrast = jnp.maximum(high - low, 1e-6)
  scaled = (maps - low) / contrast
  if slope is None:
    return scaled
  rise = jnp.einsum("hwc,bpc->bhwp", places(*maps.shape[1:3]), slope)
  scaled *= jnp.exp(jnp.minimum(rise / contrast, MOST_RISE))
  high = jnp.max(scaled, axis=(1, 2), keepdims=True)
  return scaled / jnp.maximum(high, 1e-6)


def compete(maps: jax.Array, mask: jax.Array, sharpness: float) -> jax.Array:
  """Leaves each place to the phrase that answers it best.

  A phrase whose words are half right lights an object that another phrase of
  the caption names in full; there it fades by exp(-sharpness * lead).

  Args:
    maps: [B, H, W, P] relative similarities.
    mask: [B, P] bool, phrases that exist.
    sharpness: per unit that the best phrase leads; 0 = no competition.

  Returns:
    [B, H, W, P]; negative similarities fade as well.
  """
  rivals = jnp.where(mask[:, None, None], maps, -jnp.inf)
  lead = jnp.max(rivals, axis=-1, keepdims=True) - maps
  lead = jnp.where(jnp.isfinite(lead), jnp.maximum(lead, 0.0), 0.0)
  return maps * jnp.exp(-sharpness * lead)


def soft_iou(extent: jax.Array, boxes: jax.Array) -> jax.Array:
  """Overlap of boxes with soft masks, over their union.

  Args:
    extent: [B, h, w, P] in [0, 1], how much a cell belongs to a phrase.
    boxes: [B, R, 4] cxcywh in [0, 1] of the image.

  Returns:
    [B, R, P] float32 in [0, 1].
  """
  inside, area = _inside(extent, boxes)
  total = jnp.sum(extent, axis=(1, 2))[:, None]
  return inside / jnp.maximum(area[..., None] + total - inside, 1e-6)


def peak_share(
  maps: jax.Array, boxes: jax.Array, sharpness: float
) -> jax.Array:
  """How much of a map's peak a box holds: the mass of softmax(sharpness * map).

  Args:
    maps: [B, h, w, P] relative similarities.
    boxes: [B, R, 4] cxcywh in [0, 1] of the image.
    sharpness: of the softmax over all cells; 0 counts every cell alike.

  Returns:
    [B, R, P] float32 in [0, 1].
  """
  cells = jax.nn.softmax(sharpness * maps, axis=(1, 2))
  return _inside(cells, boxes)[0]


def _inside(values: jax.Array, boxes: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Sum over a box's cells [B, R, P], and their number [B, R]."""
  rows = _coverage(boxes[..., 1], boxes[..., 3], values.shape[1])
  columns = _coverage(boxes[..., 0], boxes[..., 2], values.shape[2])
  bands = jnp.einsum("brh,bhwp->brwp", rows, values)
  inside = jnp.einsum("brw,brwp->brp", columns, bands)
  return inside, jnp.sum(rows, -1) * jnp.sum(columns, -1)


def _coverage(centre: jax.Array, size: jax.Array, cells: int) -> jax.Array:
  """Covered part of each cell along one axis: [B, R, cells]."""
  low = (centre - size / 2)[..., None] * cells
  high = (centre + size / 2)[..., None] * cells
  left = jnp.arange(cells, dtype=jnp.float32)[None, None]
  return jnp.clip(jnp.minimum(high, left + 1) - jnp.maximum(low, left), 0, 1)
