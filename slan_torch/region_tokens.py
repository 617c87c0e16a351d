"""How regions answer the tokens of a text, after chosen levels.

Axes: B pairs, L levels, C chosen ones, R regions, N tokens, P phrases.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from slan_torch.layers import l2_normalize
from slan_torch.roi_align import roi_align
from slan_torch.word_map import inner_tokens


def token_cosines(
  model, images, texts, located, levels: Sequence[int]
) -> tuple[Tensor, Tensor]:
  """Cosine of every region with every token that stands for something.

  Args:
    model: `SLANModel`.
    images: states of the images.
    texts: states of their texts.
    located: regions of the pairs.
    levels: those to look at, 0 = as the filter gives them.

  Returns:
    [B, C, R, N], and bool [B, N], the tokens that count: with a word map the
    last word of each phrase, else all but marks.
  """
  if texts.phrases is None:
    cosines = word_cosines(model, images, located, levels)
    return cosines, inner_tokens(texts.mask)
  raw = model.phrase_cosine(images, texts)
  samples = model.cfg.adaptor.roi_size
  # What moves boxes is not their score.
  pooled = [
    roi_align(raw, located.boxes[:, level].detach(), 1, samples)[:, :, 0, 0]
    for level in levels
  ]
  place = phrase_places(texts)
  cosines = torch.einsum("blrp,bpn->blrn", torch.stack(pooled, 1), place)
  return cosines, (place > 0).any(1)


def word_cosines(model, images, located, levels: Sequence[int]) -> Tensor:
  """Cosine of words with the region pooled after each level: [B, C, R, N]."""
  words, cfg = l2_normalize(located.words), model.cfg.adaptor
  scores = []
  for level in levels:
    features, boxes = images.pyramid[max(level - 1, 0)], located.boxes[:, level]
    pooled = roi_align(features, boxes, cfg.roi_size, cfg.sampling_ratio)
    pooled = l2_normalize(pooled.mean((2, 3)))
    scores.append(torch.einsum("brd,bnd->brn", pooled, words))
  return torch.stack(scores, 1)


def phrase_places(texts) -> Tensor:
  """Token that speaks for each phrase, its last word: [B, P, N] float32."""
  place = F.one_hot(texts.phrases["head"], texts.mask.shape[1]).float()
  return place.masked_fill(~texts.phrases["mask"][..., None], 0.0)


def phrase_fit(model, images, texts, located, levels: Sequence[int]) -> Tensor:
  """Fit of boxes to the phrases' maps: [B, C, R, N]."""
  # The maps are the same for all levels: one call for all boxes.
  boxes = located.boxes[:, list(levels)]
  fit = model.box_fit(images, texts, boxes.flatten(1, 2))
  place = phrase_places(texts)
  return torch.einsum(
    "blrp,bpn->blrn", fit.unflatten(1, boxes.shape[1:3]), place
  )
