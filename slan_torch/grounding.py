"""Phrase grounding (section 4.2.6): regions and scores of every word.

Axes: B pairs, L levels, R regions, Q proposals, N words, P phrases.
"""

import torch
from torch import Tensor

from slan_torch import region_tokens
from slan_torch.layers import l2_normalize
from slan_torch.localisation import region_scores
from slan_torch.word_map import inner_tokens


def ground(
  model, image: Tensor, ids: Tensor, mask: Tensor
) -> dict[str, Tensor]:
  """Locates a caption's words.

  A model that learned from the boxes of phrases (`config.detection.phrases`)
  keeps and scores regions as it learned to, another as pre-training leaves it.

  Args:
    model: `SLANModel`.
    image: as `SLANModel.encode_image` takes it, or what that returns, of a
      model that learned so with `**model.box_regions`.
    ids: [B, N].
    mask: bool [B, N].

  Returns:
    boxes [B, L+1, R, 4] cxcywh in [0, 1]; region_mask [B, R]; scores
    [B, L+1, R, N], how well a region fits a word after each level;
    token_weight [B, N], how much a token says about its phrase; map
    [B, h, w, N], where each word is; proposals [B, Q, 4] and proposal_score
    [B, Q], the saliency before the region filter.
  """
  learned, images = model.config.detection.phrases, image
  if isinstance(image, Tensor):
    regions = model.box_regions if learned else {}
    images = model.encode_image(image, **regions)
  texts = model.encode_text(ids, mask)
  located = model.locate(images, texts)
  by = _by_words if texts.phrases is None else _by_phrases
  found = {
    "boxes": located.boxes,
    "region_mask": images.regions["mask"],
    "proposals": images.proposals["boxes"],
    "proposal_score": images.proposals["saliency_logit"].sigmoid(),
    **by(model, images, texts, located),
  }
  if learned:
    levels = range(located.boxes.shape[1])
    found["scores"], _ = region_scores(model, images, texts, located, levels)
  return found


def _by_phrases(model, images, texts, located) -> dict[str, Tensor]:
  """Scores a head noun by the fit of the box to its phrase's map."""
  place = region_tokens.phrase_places(texts)
  fine = model.phrase_maps(images, texts).extent
  levels = range(located.boxes.shape[1])
  return {
    "scores": region_tokens.phrase_fit(model, images, texts, located, levels),
    "token_weight": place.amax(1),
    "map": torch.einsum("bhwp,bpn->bhwn", fine, place),
  }


def _by_words(model, images, texts, located) -> dict[str, Tensor]:
  """Scores a word by its cosine with the region pooled after each level."""
  last = l2_normalize(images.pyramid[-1])
  levels = range(located.boxes.shape[1])
  return {
    "scores": region_tokens.word_cosines(model, images, located, levels),
    "token_weight": inner_tokens(texts.mask).float(),
    "map": torch.einsum("bhwd,bnd->bhwn", last, l2_normalize(located.words)),
  }
