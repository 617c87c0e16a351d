"""DETR whose class prediction became a region saliency (section 3.2).

Axis letters: B batch, M cells, Q queries, D width of the detector. Boxes are
cx, cy, w, h in [0, 1] of the image.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slan_torch.layers import Linear32, Mlp, MultiHeadAttention
from slan_torch.position import sine_position, sine_position_2d
from slan_torch.roi_align import roi_align

_BINS = 2  # per side of a reference box, as slan_jax's detector has them


class EncoderLayer(nn.Module):
  """Self-attention and feed-forward, post-LN; positions join query and key."""

  def __init__(self, width: int, heads: int, mlp_width: int):
    super().__init__()
    self.attention = MultiHeadAttention(width, heads)
    self.attention_norm = nn.LayerNorm(width)
    self.mlp = Mlp(width, mlp_width, F.relu)
    self.mlp_norm = nn.LayerNorm(width)

  def forward(self, x: Tensor, position: Tensor) -> Tensor:
    placed = x + position
    x = self.attention_norm(x + self.attention(placed, placed, x))
    return self.mlp_norm(x + self.mlp(x))


class DecoderLayer(nn.Module):
  """Self-attention of the queries, cross attention to cells, feed-forward."""

  def __init__(self, width: int, heads: int, mlp_width: int):
    super().__init__()
    self.attention = MultiHeadAttention(width, heads)
    self.attention_norm = nn.LayerNorm(width)
    self.cross = MultiHeadAttention(width, heads)
    self.cross_norm = nn.LayerNorm(width)
    self.mlp = Mlp(width, mlp_width, F.relu)
    self.mlp_norm = nn.LayerNorm(width)

  def forward(
    self, x: Tensor, query_position: Tensor, memory: Tensor, position: Tensor
  ) -> Tensor:
    """Args: x, query_position [B, Q, D]; memory, position [B, M, D]."""
    placed = x + query_position
    x = self.attention_norm(x + self.attention(placed, placed, x))
    y = self.cross(x + query_position, memory + position, memory)
    x = self.cross_norm(x + y)
    return self.mlp_norm(x + self.mlp(x))


class Transformer(nn.Module):
  """DETR's encoder and decoder over the cells of a map."""

  def __init__(self, detector):
    super().__init__()
    sizes = detector.width, detector.heads, detector.mlp_width
    self.encoder = nn.ModuleList(
      EncoderLayer(*sizes) for _ in range(detector.encoder_layers)
    )
    self.decoder = nn.ModuleList(
      DecoderLayer(*sizes) for _ in range(detector.decoder_layers)
    )
    self.decoder_norm = nn.LayerNorm(detector.width)

  def forward(
    self,
    cells: Tensor,
    position: Tensor,
    query_position: Tensor,
    content: Tensor | None,
  ) -> Tensor:
    """States of the queries, which start with `content`: [B, Q, D]."""
    for layer in self.encoder:
      cells = layer(cells, position)
    x = torch.zeros_like(query_position) if content is None else content
    for layer in self.decoder:
      x = layer(x, query_position, cells, position)
    return self.decoder_norm(x)


class Detector(nn.Module):
  """G_0, S and query states of an image (Algorithm 1, line 1).

  `reference` "learned": learned queries, as DETR. "grid" (an addition to the
  paper): boxes are offsets from a grid of boxes, and a query starts with what
  lies in its box.
  """

  def __init__(self, detector, channels: int):
    super().__init__()
    if detector.reference not in ("learned", "grid"):
      raise ValueError(f"model.detector.reference: {detector.reference!r}")
    self.detector, width = detector, detector.width
    self.input = nn.Linear(channels, width)
    self.query = nn.Embedding(detector.queries, width)
    self.transformer = Transformer(detector)
    self.box1, self.box2 = nn.Linear(width, width), nn.Linear(width, width)
    self.box3 = Linear32(width, 4)
    self.saliency = Linear32(width, 1)
    if detector.reference == "grid":
      self.content = nn.Linear(_BINS**2 * width, width)

  def forward(self, v: Tensor) -> dict[str, Tensor]:
    """Detects.

    Args:
      v: [B, h, w, C] global feature map V.

    Returns:
      boxes [B, Q, 4] float32, saliency_logit [B, Q] float32, states [B, Q, D].
    """
    detector, (batch, height, columns, _) = self.detector, v.shape
    cells = self.input(v)
    place = sine_position_2d(height, columns, detector.width, v.device)
    query, reference, content = self.query.weight.float(), None, None
    if detector.reference == "grid":
      reference = grid_references(
        detector.queries, detector.reference_size, v.device
      )
      query = query + sine_position(reference[:, :2], detector.width)
      boxes = reference.expand(batch, -1, -1)
      content = self.content(roi_align(cells, boxes, _BINS, 2).flatten(2))
    place, query = (
      x.to(cells.dtype)[None].expand(batch, -1, -1) for x in (place, query)
    )
    states = self.transformer(cells.flatten(1, 2), place, query, content)
    logits = self.box3(self.box2(self.box1(states).relu()).relu())
    if reference is not None:
      logits = logits + reference.logit()
    return {
      "boxes": logits.sigmoid(),
      "saliency_logit": self.saliency(states)[..., 0],
      "states": states,
    }


def grid_references(queries: int, size: float, device: torch.device) -> Tensor:
  """Square boxes whose centres fill the image row by row: [Q, 4] float32."""
  rows = round(math.sqrt(queries))
  columns = math.ceil(queries / rows)
  index = torch.arange(queries, device=device)
  x = (index % columns + 0.5) / columns
  y = (index // columns + 0.5) / rows
  side = torch.full_like(x, size)
  return torch.stack([x, y, side, side], -1)
