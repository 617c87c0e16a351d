"""Self-localisation: Algorithm 1, lines 3 to 14.

Axes: B pairs, R kept regions, N words, P phrases, L levels, K grid side,
J = K * K neighbours, D width. Boxes are cxcywh in [0, 1] of the image.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slan_torch import neighbours
from slan_torch.fusion import make_fusion
from slan_torch.position import sine_position
from slan_torch.reading import EPSILON, Reading
from slan_torch.roi_align import roi_align

_UNCHOSEN = -1e9


class Located(NamedTuple):
  """What Algorithm 1 returns, with the steps in between.

  Attributes:
    boxes: [B, L + 1, R, 4] float32, G_0 to G_L.
    regions: [B, R, D], E_L^G. words: [B, N, D], E_L^T.
    mean_boxes: [B, R, 4], the average of G_1..G_L (line 14).
    confirmed: [B, R] bool, kept regions that moved, each the best of its
      phrase where assignment is mutual.
  """

  boxes: Tensor
  regions: Tensor
  words: Tensor
  mean_boxes: Tensor
  confirmed: Tensor


class Locator(nn.Module):
  """L levels of the region adaptor."""

  def __init__(self, cfg):
    super().__init__()
    self.levels = cfg.adaptor.levels
    for i in range(self.levels):
      self.add_module(f"level_{i + 1}", Level(cfg, i))
    self.ends_in_norm = cfg.adaptor.fusion == "residual" and self.levels > 0
    if self.ends_in_norm:
      self.region_norm = nn.LayerNorm(cfg.width, EPSILON)
      self.word_norm = nn.LayerNorm(cfg.width, EPSILON)

  def forward(
    self, regions, words, exists, sought, pyramid, phrase_map, cells=None
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
    """
    boxes, embedded = regions["boxes"], regions["embeddings"]
    mask = regions["mask"]
    steps, confirmed = [boxes], torch.zeros_like(mask)
    for i in range(self.levels):
      boxes, embedded, words, confirmed = getattr(self, f"level_{i + 1}")(
        boxes, embedded, words, mask, exists, sought, pyramid[i], phrase_map,
        cells,
      )  # fmt: skip
      steps.append(boxes)
    if self.ends_in_norm:
      embedded, words = self.region_norm(embedded), self.word_norm(words)
    return Located(
      boxes=torch.stack(steps, 1),
      regions=embedded,
      words=words,
      mean_boxes=torch.stack(steps[1:] or steps, 1).mean(1),
      confirmed=confirmed & mask,
    )


class Level(nn.Module):
  """One turn of Algorithm 1's loop, lines 4 to 11."""

  def __init__(self, cfg, index: int):
    super().__init__()
    self.cfg, self.index = cfg.adaptor, index
    self.add_position = cfg.filter.add_position
    self.fusion = make_fusion(cfg.adaptor.fusion, cfg.width, cfg.adaptor.heads)
    if cfg.adaptor.size != "soft_extent":
      self.log_scale = nn.Parameter(torch.zeros(2))  # p_w, p_h of line 9
    if cfg.word_map.enabled and cfg.word_map.read_sharpness:
      self.reading = Reading(cfg.word_map.width, cfg.width)

  def forward(
    self, boxes, embedded, words, mask, exists, sought, features, phrase_map,
    cells,
  ):  # fmt: skip
    """Returns G_i, E_i^G, E_i^T and which regions are confirmed."""
    cfg = self.cfg
    embedded, words = self.fusion(embedded, words, mask, exists)  # line 4
    window = self._window(boxes)  # line 5
    if cfg.words == "phrases":  # lines 6 and 7
      # Where a phrase is belongs to the map: no gradient of the fusion's
      # losses may bend it.
      maps, valid = phrase_map[0].detach(), phrase_map[1]
      around = torch.cat([boxes[..., :2], window], -1)
      similarity = roi_align(maps, around, cfg.grid, cfg.sampling_ratio)
      similarity = similarity.flatten(2, 3)
    else:
      valid = sought
      similarity = neighbours.neighbour_word_similarity(
        features,
        boxes[..., :2],
        words,
        sought,
        window=window,
        grid=cfg.grid,
        samples=cfg.roi_size * cfg.sampling_ratio,
      )
    boxes, confirmed = self._move(boxes, similarity, valid, mask, window)
    embedded = self._embed(boxes, features, embedded, cells)
    return boxes, embedded, words, confirmed

  def _window(self, boxes: Tensor) -> Tensor:
    """(NW_i, NH_i) of every region, fractions of the image: [B, R, 2]."""
    cfg, size = self.cfg, boxes[..., 2:].detach()
    ratio = cfg.windows[self.index]
    if cfg.window_units[self.index] == "image":
      return torch.full_like(size, ratio)
    return (ratio * size).clamp(*cfg.window_bounds)

  def _move(self, boxes, similarity, valid, mask, window):
    """Lines 8 to 10: Eq. 2 with the size of the config's choice."""
    cfg = self.cfg
    inside = neighbours.neighbour_mask(boxes[..., :2], window, cfg.grid)
    score, won = _neighbour_scores(similarity, valid, mask, inside, window, cfg)
    if cfg.similarity == "extent":
      high = score.amax(-1, keepdim=True)
      above = score - cfg.extent_threshold * high
      soft = (above / (cfg.extent_softness * high).clamp(min=1e-6)).sigmoid()
      soft = soft.masked_fill(~inside, 0.0)
      weight = soft / soft.sum(-1, keepdim=True).clamp(min=1e-6)
      moves = high[..., 0] > cfg.move_threshold
    else:
      soft = weight = neighbours.normalise_similarity(
        score, inside, cfg.similarity, cfg.temperature
      )
      moves = torch.ones_like(mask)
    offset = neighbours.neighbour_offset(
      weight, window, cfg.grid, cfg.pitch, cfg.swap_axes
    )
    if cfg.size == "soft_extent":
      size = _soft_extent(soft, window, cfg.grid)
    else:
      size = boxes[..., 2:] * self.log_scale.float().exp()
    centre = boxes[..., :2] + offset
    if cfg.clip_boxes:
      centre, size = centre.clamp(0.0, 1.0), size.clamp(cfg.min_size, 1.0)
    moved = torch.cat([centre, size], -1)
    return torch.where(moves[..., None], moved, boxes), moves & won

  def _embed(self, boxes, features, embedded, cells):
    """Line 11: Embedding(G_i, F_i), RoIAlign and average pooling."""
    cfg = self.cfg
    place = boxes if cfg.differentiable_boxes else boxes.detach()
    pooled = roi_align(features, place, cfg.roi_size, cfg.sampling_ratio)
    pooled = pooled.mean((2, 3)).to(embedded.dtype)
    if cells is not None:
      read = roi_align(cells, place, cfg.roi_size, cfg.sampling_ratio)
      pooled = pooled + self.reading(read.mean((2, 3)))
    if self.add_position:
      pooled = pooled + box_position(boxes, pooled.shape[-1]).to(pooled.dtype)
    return pooled if cfg.refine == "overwrite" else embedded + pooled


def box_position(boxes: Tensor, width: int) -> Tensor:
  """Sine code of a box's centre, cut off from the gradient: [..., width]."""
  return sine_position(boxes[..., :2].detach(), width)


def _neighbour_scores(similarity, valid, mask, inside, window, cfg):
  """s_j before normalisation, [B, R, J], and whether a word chose the region.

  "every": the maximum over all words at each neighbour (3.2.3). "best": the
  phrase with the best near neighbour. "mutual": as "best", but the best
  region of each phrase is given to it, so that no phrase stays without one.
  """
  absent = ~valid[:, None, None]
  similarity = similarity.masked_fill(absent, _UNCHOSEN)
  if cfg.assignment == "every":
    score = similarity.amax(-1)
    return score.masked_fill(~valid.any(-1)[:, None, None], 0.0), mask
  x, y = neighbours.cell_centres(torch.zeros_like(window), window, cfg.grid)
  far = x.square()[..., None, :] + y.square()[..., None]
  near = (-cfg.centre_decay * far).exp().flatten(-2)
  near = near.masked_fill(~inside, 0.0)[..., None]
  affinity = torch.where(similarity > 0, similarity * near, similarity).amax(2)
  affinity = affinity.masked_fill(~mask[..., None], _UNCHOSEN)  # [B, R, P]
  choice, won = affinity, mask
  if cfg.assignment == "mutual":
    # A phrase's best region prefers it to any other phrase.
    best = affinity >= affinity.amax(1, keepdim=True)
    wins = best & mask[..., None] & valid[:, None]
    choice = affinity + 10.0 * wins
    won = wins.any(-1)
  chosen = F.one_hot(choice.argmax(-1), similarity.shape[-1])
  picked = similarity.masked_fill(absent, 0.0)
  return torch.einsum("brjp,brp->brj", picked, chosen.to(picked.dtype)), won


def _soft_extent(soft: Tensor, window: Tensor, grid: int) -> Tensor:
  """Width and height of the soft mask over the neighbours: [B, R, 2]."""
  mask = soft.unflatten(-1, (grid, grid))  # rows, columns
  columns, rows = mask.amax(-2).sum(-1), mask.amax(-1).sum(-1)
  return torch.stack([columns, rows], -1) * window / grid
