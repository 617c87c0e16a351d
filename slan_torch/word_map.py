"""Additions to the paper: phrases matched on a low-level feature map.

Axes: B batch, N tokens, P phrases, D width, C channels, h w sides of the map,
H W sides of the finer map.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slan_torch.layers import Linear32, l2_normalize

# Tokens before and after a phrase that may tell where it is: "to the left of a"
# and "on the left".
BEFORE, AFTER = 4, 4
MOST_RISE = 5.0  # of the exponent of a slope over a nearly flat map


class WordMap(nn.Module):
  """Unit vectors of the low-level map, without any top-down path."""

  def __init__(self, channels: int, width: int):
    super().__init__()
    self.input = nn.Linear(channels, width)
    self.norm = nn.LayerNorm(width, eps=1e-6)
    self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)
    self.out = nn.Linear(width, width)

  def forward(self, low: Tensor) -> Tensor:
    """Args: low [B, h, w, C]. Returns [B, h, w, width] float32."""
    x = self.input(low)
    x = x + self.down(F.gelu(self.up(self.norm(x))))
    return l2_normalize(self.out(x))


def places(height: int, width: int, device: torch.device) -> Tensor:
  """x and y of every cell's centre in [-1, 1]: [h, w, 2] float32."""
  y, x = (
    (2 * torch.arange(n, device=device) + 1) / n - 1 for n in (height, width)
  )
  y, x = torch.meshgrid(y, x, indexing="ij")
  return torch.stack([x, y], -1)


def with_places(cells: Tensor) -> Tensor:
  """Adds x and y in [-1, 1] to map vectors: [B, h, w, C] -> [B, h, w, C + 2].

  The product with a phrase's vector then holds what the words around the
  phrase say of its place, as a slope over the image.
  """
  batch, height, width, _ = cells.shape
  grid = places(height, width, cells.device).to(cells.dtype)
  return torch.cat([cells, grid.expand(batch, -1, -1, -1)], -1)


class Compose(nn.Module):
  """A matrix for each place in a phrase: [..., window, D] -> [..., width]."""

  def __init__(self, window: int, inputs: int, width: int):
    super().__init__()
    scale = (window * inputs) ** -0.5
    self.weight = nn.Parameter(torch.randn(window, inputs, width) * scale)

  def forward(self, x: Tensor) -> Tensor:
    return torch.einsum("...kd,kde->...e", x, self.weight)


class Phrases(nn.Module):
  """One unit vector per noun phrase, from static word embeddings."""

  def __init__(self, cfg, width: int):
    super().__init__()
    self.cfg = cfg
    self.compose = Compose(cfg.phrase_window, width, cfg.width)
    if cfg.place_bound:
      self.place_in = Compose(BEFORE + AFTER, width, cfg.width)
      self.place_out = Linear32(cfg.width, 2, bias=False)

  def forward(
    self,
    embeddings: Tensor,
    content: Tensor,
    inner: Tensor,
    most: int | None = None,
  ) -> dict[str, Tensor]:
    """Composes the words of each phrase, each weighed by its place.

    Args:
      embeddings: [B, N, D] word embeddings, without context or position.
      content: [B, N] bool, as `content_tokens` returns it.
      inner: [B, N] bool, as `inner_tokens` returns it.
      most: P, if not the configured number.

    Returns:
      vectors: [B, P, width] float32, unit length (zero where none); with
      `place_bound`, [B, P, width + 2], a slope along x and y behind it;
      head: [B, P] token of the phrase's last word; length: [B, P], its
      tokens; mask: [B, P] bool.
    """
    head, mask = phrase_heads(content, most or self.cfg.phrases)
    back = torch.arange(self.cfg.phrase_window, device=head.device)
    index = head[..., None] - back
    place = index.clamp(min=0)
    inside = content.gather(1, place.flatten(1)).view_as(place) & (index >= 0)
    # A phrase ends at the first function word to its left.
    inside = inside.long().cumprod(-1).bool() & mask[..., None]
    rows = torch.arange(len(head), device=head.device)[:, None, None]
    words = embeddings[rows, place].masked_fill(~inside[..., None], 0.0)
    vectors = l2_normalize(self.compose(words))
    length = inside.sum(-1)
    if self.cfg.place_bound:
      slope = self._slope(embeddings, inner, head + 1 - length, head)
      slope = slope.masked_fill(~mask[..., None], 0.0)
      vectors = torch.cat([vectors, slope], -1)
    return {"vectors": vectors, "head": head, "length": length, "mask": mask}

  def _slope(
    self, embeddings: Tensor, inner: Tensor, first: Tensor, last: Tensor
  ) -> Tensor:
    """What the words around a phrase say of its place: [B, P, 2] float32."""
    device = inner.device
    back = first[..., None] - 1 - torch.arange(BEFORE, device=device)
    onward = last[..., None] + 1 + torch.arange(AFTER, device=device)
    index = torch.cat([back, onward], -1)
    clipped = index.clamp(0, inner.shape[1] - 1)
    exists = inner.gather(1, clipped.flatten(1)).view_as(index)
    exists &= index == clipped
    rows = torch.arange(len(inner), device=device)[:, None, None]
    words = embeddings[rows, clipped].masked_fill(~exists[..., None], 0.0)
    slope = self.place_out(F.gelu(self.place_in(words)))
    return self.cfg.place_bound * slope.tanh()


def content_tokens(
  ids: Tensor, mask: Tensor, function_ids: tuple[int, ...]
) -> Tensor:
  """Tokens that belong to phrases: real ones that are no function words.

  A text of function words alone counts as content, so that every text has a
  phrase.

  Args:
    ids: [B, N]. mask: [B, N] bool, real tokens. function_ids: token ids.

  Returns:
    [B, N] bool.
  """
  table = torch.tensor(function_ids, dtype=ids.dtype, device=ids.device)
  inner = inner_tokens(mask)
  content = inner & ~torch.isin(ids, table)
  return torch.where(content.any(-1, keepdim=True), content, inner)


def inner_tokens(mask: Tensor) -> Tensor:
  """Real tokens but the first, [CLS], and the last, [SEP]: [B, N] bool."""
  first = torch.arange(mask.shape[1], device=mask.device) > 0
  return mask & F.pad(mask[:, 1:], (0, 1)) & first


def sought_tokens(mask: Tensor, words: str) -> Tensor:
  """Tokens whose similarity may move a region: [B, N] bool."""
  return mask if words == "all" else inner_tokens(mask)


def phrase_heads(content: Tensor, count: int) -> tuple[Tensor, Tensor]:
  """The last token of each run of content tokens, first runs first.

  Args:
    content: [B, N] bool.
    count: P, slots; later runs are left out. There may be more than tokens.

  Returns:
    head: [B, P] token index, and mask: [B, P] bool.
  """
  is_head = content & ~F.pad(content[:, 1:], (0, 1))
  mask, index = is_head.to(torch.uint8).sort(descending=True, stable=True)
  mask, index = mask[:, :count].bool(), index[:, :count]
  rest = (0, count - index.shape[1])
  return F.pad(index.masked_fill(~mask, 0), rest), F.pad(mask, rest)


def relative(
  maps: Tensor, coarse: Tensor, slope: Tensor | None = None
) -> Tensor:
  """Each map between its median (0) and its maximum (1).

  A slope raises and lowers what lies above the median, as much at the maximum
  as if it had been added to the similarity, and not the ground around it.

  Args:
    maps: [B, H, W, P] similarities on the finer grid.
    coarse: [B, h, w, P] before spreading, whose median is cheaper to find.
    slope: [B, P, 2] of `Phrases`, or None.

  Returns:
    [B, H, W, P]; zero for a flat map.
  """
  cells = coarse.flatten(1, 2).sort(1).values
  count = cells.shape[1]
  low = (cells[:, (count - 1) // 2] + cells[:, count // 2]) / 2
  low = low[:, None, None]
  high = maps.amax((1, 2), keepdim=True)
  contrast = (high - low).clamp(min=1e-6)
  scaled = (maps - low) / contrast
  if slope is None:
    return scaled
  grid = places(*maps.shape[1:3], maps.device)
  rise = torch.einsum("hwc,bpc->bhwp", grid, slope)
  scaled = scaled * (rise / contrast).clamp(max=MOST_RISE).exp()
  return scaled / scaled.amax((1, 2), keepdim=True).clamp(min=1e-6)


def compete(maps: Tensor, mask: Tensor, sharpness: float) -> Tensor:
  """Leaves each place to the phrase that answers it best.

  Args:
    maps: [B, H, W, P] relative similarities.
    mask: [B, P] bool, phrases that exist.
    sharpness: a phrase fades by exp(-sharpness * lead of the best phrase).

  Returns:
    [B, H, W, P].
  """
  rivals = maps.masked_fill(~mask[:, None, None], -math.inf)
  lead = (rivals.amax(-1, keepdim=True) - maps).clamp(min=0)
  return maps * (-sharpness * lead).exp()


def soft_iou(extent: Tensor, boxes: Tensor) -> Tensor:
  """Overlap of boxes with soft masks, over their union.

  Args:
    extent: [B, h, w, P] in [0, 1], how much a cell belongs to a phrase.
    boxes: [B, R, 4] cxcywh in [0, 1] of the image.

  Returns:
    [B, R, P] float32 in [0, 1].
  """
  inside, area = _inside(extent, boxes)
  total = extent.sum((1, 2))[:, None]
  return inside / (area[..., None] + total - inside).clamp(min=1e-6)


def peak_share(maps: Tensor, boxes: Tensor, sharpness: float) -> Tensor:
  """How much of a map's peak a box holds: the mass of softmax(sharpness * map).

  Args:
    maps: [B, h, w, P] relative similarities.
    boxes: [B, R, 4] cxcywh in [0, 1] of the image.
    sharpness: of the softmax over all cells.

  Returns:
    [B, R, P] float32 in [0, 1].
  """
  cells = (sharpness * maps).flatten(1, 2).softmax(1)
  return _inside(cells.unflatten(1, maps.shape[1:3]), boxes)[0]


def _inside(values: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
  """Sum over a box's cells [B, R, P], and their number [B, R]."""
  rows = _coverage(boxes[..., 1], boxes[..., 3], values.shape[1])
  columns = _coverage(boxes[..., 0], boxes[..., 2], values.shape[2])
  bands = torch.einsum("brh,bhwp->brwp", rows, values)
  inside = torch.einsum("brw,brwp->brp", columns, bands)
  return inside, rows.sum(-1) * columns.sum(-1)


def _coverage(centre: Tensor, size: Tensor, cells: int) -> Tensor:
  """Covered part of each cell along one axis: [B, R, cells]."""
  low = (centre - size / 2)[..., None] * cells
  high = (centre + size / 2)[..., None] * cells
  left = torch.arange(cells, dtype=torch.float32, device=centre.device)
  return (high.minimum(left + 1) - low.maximum(left)).clamp(0, 1)
