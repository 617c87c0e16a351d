"""Words and regions read the word map, an addition to the paper.

A word takes over what the map shows at the place of its phrase, and a region
what it shows inside its box.

Axes: B pairs, R regions, N words, P phrases, C channels, D width, h w sides.
"""

import torch
from torch import Tensor, nn

from slan_torch.position import sine_position

EPSILON = 1e-6


class Reading(nn.Module):
  """What was read of the map, as states of width D."""

  def __init__(self, channels: int, width: int, more: int = 0):
    super().__init__()
    self.norm = nn.LayerNorm(channels, EPSILON)
    self.out = nn.Linear(channels + more, width)

  def forward(self, appearance: Tensor, more: Tensor | None = None) -> Tensor:
    """Args: appearance [..., C]; more [..., K], as it is. Returns [..., D]."""
    x = self.norm(appearance.to(self.norm.weight.dtype))
    if more is not None:
      x = torch.cat([x, more.to(x.dtype)], -1)
    return self.out(x)


class WordReading(nn.Module):
  """What each word's phrase found: how it looks, where it is, how surely."""

  def __init__(self, channels: int, width: int, sharpness: float):
    super().__init__()
    self.width, self.sharpness = width, sharpness
    self.found = Reading(channels, width, more=width + 1)

  def forward(
    self,
    cells: Tensor,
    cosine: Tensor,
    peak: Tensor,
    phrases: dict[str, Tensor],
    words: int,
  ) -> Tensor:
    """Reads at the peak of each phrase.

    Args:
      cells: [B, h, w, C] of the word map.
      cosine: [B, h, w, P] similarity of place and phrase.
      peak: [B, h, w, P] the same, relative to the phrase's own map.
      phrases: of `Phrases`.
      words: N.

    Returns:
      [B, N, D]; zero for words of no phrase.
    """
    cells, cosine, peak = cells.detach(), cosine.detach(), peak.detach()
    weight = (self.sharpness * peak).flatten(1, 2).softmax(1)
    weight = weight.unflatten(1, peak.shape[1:3])
    appearance = torch.einsum("bhwp,bhwc->bpc", weight, cells)
    rows, columns = (
      (torch.arange(side, device=peak.device) + 0.5) / side
      for side in peak.shape[1:3]
    )
    place = torch.stack(
      [
        torch.einsum("bhwp,w->bp", weight, columns),
        torch.einsum("bhwp,h->bp", weight, rows),
      ],
      -1,
    )
    surely = cosine.amax((1, 2))[..., None]
    more = torch.cat([sine_position(place, self.width), surely], -1)
    read = self.found(appearance, more)
    tokens = phrase_tokens(phrases, words)
    return torch.einsum("bpn,bpd->bnd", tokens.to(read.dtype), read)


def phrase_tokens(phrases: dict[str, Tensor], words: int) -> Tensor:
  """Which tokens a phrase consists of: [B, P, N] bool."""
  token = torch.arange(words, device=phrases["head"].device)
  head = phrases["head"][..., None]
  first = head + 1 - phrases["length"][..., None]
  return (token >= first) & (token <= head) & phrases["mask"][..., None]
