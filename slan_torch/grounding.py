"""Phrase grounding (section 4.2.6): regions and scores of every word.

Axes: B pairs, L levels, R regions, Q proposals, N words, P phrases.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from slan_torch.layers import l2_normalize
from slan_torch.roi_align import roi_align
from slan_torch.word_map import inner_tokens


def ground(
  model, image: Tensor, ids: Tensor, mask: Tensor
) -> dict[str, Tensor]:
  """Locates a caption's words, and scores regions as pre-training leaves them.

  What learned from boxes (`config.detection.learned`) is scored so, too; its
  own scores of phrases are slan_jax's (slan_jax/tasks/localisation.py).

  Args:
    model: `SLANModel`.
    image: as `SLANModel.encode_image` takes it, or what that returns.
    ids: [B, N].
    mask: bool [B, N].

  Returns:
    boxes [B, L+1, R, 4] cxcywh in [0, 1]; region_mask [B, R]; scores
    [B, L+1, R, N], how well a region fits a word after each level;
    token_weight [B, N], how much a token says about its phrase; map
    [B, h, w, N], where each word is; proposals [B, Q, 4] and proposal_score
    [B, Q], the saliency before the region filter.
  """
  images = model.encode_image(image) if isinstance(image, Tensor) else image
  texts = model.encode_text(ids, mask)
  located = model.locate(images, texts)
  by = _by_words if texts.phrases is None else _by_phrases
  return {
    "boxes": located.boxes,
    "region_mask": images.regions["mask"],
    "proposals": images.proposals["boxes"],
    "proposal_score": images.proposals["saliency_logit"].sigmoid(),
    **by(model, images, texts, located),
  }


def _by_phrases(model, images, texts, located) -> dict[str, Tensor]:
  """Scores a head noun by the fit of the box to its phrase's map."""
  heads = texts.phrases
  place = F.one_hot(heads["head"], texts.mask.shape[1]).float()
  place = place.masked_fill(~heads["mask"][..., None], 0.0)  # [B, P, N]
  fit = [model.box_fit(images, texts, b) for b in located.boxes.unbind(1)]
  _, fine = model.phrase_maps(images, texts)
  return {
    "scores": torch.einsum("blrp,bpn->blrn", torch.stack(fit, 1), place),
    "token_weight": place.amax(1),
    "map": torch.einsum("bhwp,bpn->bhwn", fine, place),
  }


def _by_words(model, images, texts, located) -> dict[str, Tensor]:
  """Scores a word by its cosine with the region pooled after each level."""
  words, cfg = l2_normalize(located.words), model.cfg.adaptor
  scores = []
  for level, boxes in enumerate(located.boxes.unbind(1)):
    features = images.pyramid[max(level - 1, 0)]
    pooled = roi_align(features, boxes, cfg.roi_size, cfg.sampling_ratio)
    pooled = l2_normalize(pooled.mean((2, 3)))
    scores.append(torch.einsum("brd,bnd->brn", pooled, words))
  last = l2_normalize(images.pyramid[-1])
  return {
    "scores": torch.stack(scores, 1),
    "token_weight": inner_tokens(texts.mask).float(),
    "map": torch.einsum("bhwd,bnd->bhwn", last, words),
  }
