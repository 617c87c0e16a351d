"""Eq. 1: regions and words attend to each other, in three forms.

Axes: B batch, R regions, N words, D width.
"""

import torch
from torch import Tensor, nn

from slan_torch.layers import Mlp, MultiHeadAttention, masked_softmax

_CLAMP = 5e4  # GLIP's bound on raw scores
_LAYER_SCALE = 1e-4  # GLIP's initial gain of a fused branch


def cross_attend(
  regions: Tensor,
  words: Tensor,
  region_mask: Tensor,
  word_mask: Tensor,
  heads: int,
) -> tuple[Tensor, Tensor]:
  """Eq. 1, read literally: no projections, no residual, both directions."""
  r, w = (
    x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (regions, words)
  )
  scores = (r @ w.transpose(-1, -2)).float() * r.shape[-1] ** -0.5
  to_words, to_regions = _both(scores, region_mask, word_mask)
  return _join(to_words, w), _join(to_regions, r)


def _both(scores, region_mask, word_mask) -> tuple[Tensor, Tensor]:
  """Weights of the words for each region, and the other way round."""
  to_words = masked_softmax(scores, word_mask[:, None, None])
  scores = scores.transpose(-1, -2)
  return to_words, masked_softmax(scores, region_mask[:, None, None])


def _join(weights: Tensor, value: Tensor) -> Tensor:
  return (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)


class Literal(nn.Module):
  """Eq. 1 without parameters."""

  def __init__(self, width: int, heads: int):
    super().__init__()
    if width % heads:
      raise ValueError(f"width {width} is not divisible by heads={heads}")
    self.heads = heads

  def forward(self, regions, words, region_mask, word_mask):
    return cross_attend(regions, words, region_mask, word_mask, self.heads)


class Residual(nn.Module):
  """Two pre-LN cross attentions with residuals and feed-forward blocks."""

  def __init__(self, width: int, heads: int):
    super().__init__()
    for side in ("region", "word"):
      self.add_module(f"{side}_key_norm", _norm(width))
      self.add_module(f"{side}_norm", _norm(width))
      self.add_module(f"{side}_attention", MultiHeadAttention(width, heads))
      self.add_module(f"{side}_mlp_norm", _norm(width))
      self.add_module(f"{side}_mlp", Mlp(width, 2 * width))

  def forward(self, regions, words, region_mask, word_mask):
    region_keys = self.region_key_norm(regions)
    word_keys = self.word_key_norm(words)
    return (
      self._branch(regions, word_keys, word_mask, "region"),
      self._branch(words, region_keys, region_mask, "word"),
    )

  def _branch(self, x, other, mask, side):
    query = getattr(self, f"{side}_norm")(x)
    x = x + getattr(self, f"{side}_attention")(query, other, other, mask)
    return x + getattr(self, f"{side}_mlp")(
      getattr(self, f"{side}_mlp_norm")(x)
    )


class BiMha(nn.Module):
  """GLIP's form: one score matrix with projections, pre-LN, layer scale."""

  def __init__(self, width: int, heads: int):
    super().__init__()
    self.heads = heads
    for name in ("region_query", "word_key", "region_value", "word_value"):
      self.add_module(name, nn.Linear(width, width))
    for side in ("region", "word"):
      self.add_module(f"{side}_norm", _norm(width))
      self.add_module(f"{side}_out", nn.Linear(width, width))
      gain = nn.Parameter(torch.full((width,), _LAYER_SCALE))
      self.register_parameter(f"{side}_scale", gain)

  def forward(self, regions, words, region_mask, word_mask):
    r, w = self.region_norm(regions), self.word_norm(words)
    score = self._split(self.region_query(r)) @ self._split(
      self.word_key(w)
    ).transpose(-1, -2)
    score = score.float() * (r.shape[-1] // self.heads) ** -0.5
    weights = _both(score.clamp(-_CLAMP, _CLAMP), region_mask, word_mask)
    from_words = _join(weights[0], self._split(self.word_value(w)))
    from_regions = _join(weights[1], self._split(self.region_value(r)))
    return (
      regions + self.region_scale * self.region_out(from_words),
      words + self.word_scale * self.word_out(from_regions),
    )

  def _split(self, x: Tensor) -> Tensor:
    return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


FORMS = {"literal": Literal, "bi_mha": BiMha, "residual": Residual}


def make_fusion(form: str, width: int, heads: int) -> nn.Module:
  """Cross attention of Algorithm 1, line 4: (regions [B, R, D], words
  [B, N, D], and their masks) -> both, fused.

  Raises:
    ValueError: unknown form.
  """
  if form not in FORMS:
    raise ValueError(f"model.adaptor.fusion: {form!r}; one of {list(FORMS)}")
  return FORMS[form](width, heads)


def _norm(width: int) -> nn.LayerNorm:
  return nn.LayerNorm(width, eps=1e-6)
