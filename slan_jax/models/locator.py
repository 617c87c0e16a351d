"""Self-localisation: Algorithm 1, lines 3 to 14.

Axes: B pairs, R kept regions, N words, P phrases, L levels, K grid side,
J = K * K neighbours, D width. Boxes are cxcywh in [0, 1] of the image.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import config
from slan_jax.models.fusion import Fusion
from slan_jax.models.layers import layer_norm
from slan_jax.models.position import sine_position
from slan_jax.models.reading import EPSILON, Reading
from slan_jax.ops import boxes as box_ops
from slan_jax.ops import neighbours
from slan_jax.ops.cells import cell_centres, neighbour_mask
from slan_jax.ops.roi_align import roi_align, roi_mean

UNCHOSEN = -1e9


class Located(NamedTuple):
  """What Algorithm 1 returns, with the steps in between.

  Attributes:
    boxes: [B, L + 1, R, 4] float32, G_0 to G_L.
    regions: [B, R, D], E_L^G. words: [B, N, D], E_L^T.
    mean_boxes: [B, R, 4], the average of G_1..G_L (line 14).
    confirmed: [B, R] bool, kept regions that moved, each the best of its
      phrase where assignment is mutual.
  """

  boxes: jax.Array
  regions: jax.Array
  words: jax.Array
  mean_boxes: jax.Array
  confirmed: jax.Array


class Locator(nn.Module):
  """L levels of the region adaptor."""

  cfg: config.Slan
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self,
    regions: dict[str, jax.Array],
    words: jax.Array,
    exists: jax.Array,
    sought: jax.Array,
    pyramid: tuple[jax.Array, ...],
    phrase_map: tuple[jax.Array, jax.Array] | None,
    cells: jax.Array | None = None,
  ) -> Located:
    """Moves the regions to where the words are.

    Args:
      regions: of the region filter: boxes [B, R, 4], embeddings [B, R, D],
        mask [B, R].
      words: [B, N, D], E_0^T.
      exists: [B, N] bool, real tokens.
      sought: [B, N] bool, those that may move a region: no [CLS], no [SEP].
      pyramid: F_1..F_L, each [B, H_i, W_i, D].
      phrase_map: relative similarity [B, h, w, P] and mask [B, P]; needed
        when `adaptor.words` is "phrases".
      cells: [B, h, w, C] of the word map that regions read, or None.

    Returns:
      `Located`.
    """
    boxes, embedded = regions["boxes"], regions["embeddings"]
    mask = regions["mask"]
    steps, confirmed = [boxes], jnp.zeros(mask.shape, bool)
    for i in range(self.cfg.adaptor.levels):
      level = Level(self.cfg, i, self.dtype, name=f"level_{i + 1}")
      boxes, embedded, words, confirmed = level(
        boxes, embedded, words, mask, exists, sought, pyramid[i], phrase_map,
        cells,
      )  # fmt: skip
      steps.append(boxes)
    if self.cfg.adaptor.fusion == "residual" and self.cfg.adaptor.levels:
      # What a stack of pre-LN blocks adds up ends in a norm.
      embedded = layer_norm(EPSILON, self.dtype, "region_norm")(embedded)
      words = layer_norm(EPSILON, self.dtype, "word_norm")(words)
    targets = jnp.stack(steps[1:] or steps, axis=1)
    return Located(
      boxes=jnp.stack(steps, axis=1),
      regions=embedded,
      words=words,
      mean_boxes=jnp.mean(targets, axis=1),
      confirmed=confirmed & mask,
    )


class Level(nn.Module):
  """One turn of Algorithm 1's loop, lines 4 to 11."""

  cfg: config.Slan
  index: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, boxes, embedded, words, mask, exists, sought, features, phrase_map,
    cells,
  ):  # fmt: skip
    """Returns G_i, E_i^G, E_i^T and which regions are confirmed."""
    cfg = self.cfg.adaptor
    fuse = Fusion(cfg.fusion, cfg.heads, self.dtype, name="fusion")
    embedded, words = fuse(embedded, words, mask, exists)  # line 4
    window = self._window(boxes)  # line 5
    if cfg.words == "phrases":  # lines 6 and 7
      # Where a phrase is belongs to the map: no gradient of the fusion's
      # losses may bend it.
      maps, valid = jax.lax.stop_gradient(phrase_map)
      similarity = _pool_map(maps, boxes, window, cfg)
    else:
      valid = sought
      similarity = neighbours.neighbour_word_similarity(
        features,
        boxes[..., :2],
        words,
        sought,
        window=window,
        grid=cfg.grid,
        roi_size=cfg.roi_size,
        sampling_ratio=cfg.sampling_ratio,
        order=cfg.order,
        cosine=True,
      )
    boxes, confirmed = self._move(boxes, similarity, valid, mask, window)
    embedded = self._embed(boxes, features, embedded, cells)
    return boxes, embedded, words, confirmed

  def _window(self, boxes: jax.Array) -> jax.Array:
    """(NW_i, NH_i) of every region, fractions of the image: [B, R, 2]."""
    cfg = self.cfg.adaptor
    ratio = cfg.windows[self.index]
    if cfg.window_units[self.index] == "image":
      return jnp.full((*boxes.shape[:-1], 2), ratio, jnp.float32)
    low, high = cfg.window_bounds
    return jnp.clip(ratio * jax.lax.stop_gradient(boxes[..., 2:]), low, high)

  def _move(self, boxes, similarity, valid, mask, window):
    """Lines 8 to 10: Eq. 2 with the size of the config's choice."""
    cfg = self.cfg.adaptor
    inside = neighbour_mask(boxes[..., :2], window=window, grid=cfg.grid)
    score, won = _neighbour_scores(similarity, valid, mask, inside, window, cfg)
    if cfg.similarity == "extent":
      high = jnp.max(score, axis=-1, keepdims=True)
      soft = jax.nn.sigmoid(
        (score - cfg.extent_threshold * high)
        / jnp.maximum(cfg.extent_softness * high, 1e-6)
      )
      soft = jnp.where(inside, soft, 0.0)
      weight = soft / jnp.maximum(jnp.sum(soft, -1, keepdims=True), 1e-6)
      moves = high[..., 0] > cfg.move_threshold
    else:
      weight = neighbours.normalise_similarity(
        score, inside, mode=cfg.similarity, temperature=cfg.temperature
      )
      soft, moves = weight, jnp.ones(mask.shape, bool)
    offset = neighbours.neighbour_offset(
      weight,
      window=window,
      grid=cfg.grid,
      swap_axes=cfg.swap_axes,
      pitch=cfg.pitch,
    )
    if cfg.size == "soft_extent":
      size = _soft_extent(soft, window, cfg.grid)
    else:
      size = boxes[..., 2:] * self._scale()
    moved = jnp.concatenate([boxes[..., :2] + offset, size], -1)
    if cfg.clip_boxes:
      moved = box_ops.clamp_cxcywh(moved, min_size=cfg.min_size)
    return jnp.where(moves[..., None], moved, boxes), moves & won

  def _scale(self) -> jax.Array:
    """p_w and p_h of line 9, a pair a level, 1 at first: [1, 1, 2]."""
    log = self.param("log_scale", nn.initializers.zeros, (2,))
    return jnp.exp(log)[None, None]

  def _embed(self, boxes, features, embedded, cells):
    """Line 11: Embedding(G_i, F_i), RoIAlign and average pooling."""
    cfg, place = self.cfg.adaptor, boxes
    if not cfg.differentiable_boxes:
      place = jax.lax.stop_gradient(boxes)
    samples = cfg.roi_size * cfg.sampling_ratio
    pooled = roi_mean(features, place, samples=samples).astype(self.dtype)
    if cells is not None:
      read = roi_mean(cells, place, samples=samples)
      pooled += Reading(self.cfg.width, self.dtype, name="reading")(read)
    if self.cfg.filter.add_position:
      pooled += box_position(boxes, pooled.shape[-1]).astype(self.dtype)
    return pooled if cfg.refine == "overwrite" else embedded + pooled


def box_position(boxes: jax.Array, width: int) -> jax.Array:
  """Sine code of a box's centre, cut off from the gradient: [..., width]."""
  return sine_position(jax.lax.stop_gradient(boxes[..., :2]), width)


def _pool_map(maps, boxes, window, cfg):
  """Mean similarity in each neighbour cell: [B, R, J, P]."""
  pooled = roi_align(
    maps,
    jnp.concatenate([boxes[..., :2], window], axis=-1),
    output_size=cfg.grid,
    sampling_ratio=cfg.sampling_ratio,
  )
  return pooled.reshape(*pooled.shape[:2], cfg.grid**2, pooled.shape[-1])


def _neighbour_scores(similarity, valid, mask, inside, window, cfg):
  """s_j before normalisation, [B, R, J], and whether a word chose the region.

  "every": the maximum over all words at each neighbour (3.2.3). "best": the
  phrase with the best near neighbour. "mutual": as "best", but the best
  region of each phrase is given to it, so that no phrase stays without one.
  """
  similarity = jnp.where(valid[:, None, None], similarity, UNCHOSEN)
  if cfg.assignment == "every":
    score = jnp.max(similarity, axis=-1)
    score = jnp.where(jnp.any(valid, -1)[:, None, None], score, 0.0)
    return score, mask
  x, y = cell_centres(jnp.zeros_like(window), window, grid=cfg.grid)
  far = jnp.square(x)[..., None, :] + jnp.square(y)[..., None]
  near = jnp.exp(-cfg.centre_decay * far.reshape(inside.shape))
  near = jnp.where(inside, near, 0.0)[..., None]
  affinity = jnp.max(
    jnp.where(similarity > 0, similarity * near, similarity), 2
  )
  affinity = jnp.where(mask[..., None], affinity, UNCHOSEN)  # [B, R, P]
  choice, won = affinity, mask
  if cfg.assignment == "mutual":
    # A phrase's best region prefers it to any other phrase.
    best = affinity >= jnp.max(affinity, axis=1, keepdims=True)
    wins = best & mask[..., None] & valid[:, None]
    choice = affinity + jnp.where(wins, 10.0, 0.0)
    won = jnp.any(wins, axis=-1)
  chosen = jax.nn.one_hot(
    jnp.argmax(choice, axis=-1), similarity.shape[-1], dtype=jnp.float32
  )
  picked = jnp.where(valid[:, None, None], similarity, 0.0)
  return jnp.einsum("brjp,brp->brj", picked, chosen), won


def _soft_extent(soft, window, grid):
  """Width and height of the soft mask over the neighbours: [B, R, 2]."""
  mask = soft.reshape(*soft.shape[:-1], grid, grid)  # rows, columns
  columns = jnp.sum(jnp.max(mask, axis=-2), axis=-1)
  rows = jnp.sum(jnp.max(mask, axis=-1), axis=-1)
  return jnp.stack([columns, rows], axis=-1) * window / grid
