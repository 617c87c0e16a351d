"""Localisation learned from boxes: what detection and grounding share (4.2.6).

Axes: B pairs, C chosen levels, R regions, N tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from slan_torch import region_tokens

_TEMPERATURE = (0.01, 1.0)  # bounds of what is learned


def region_scores(
  model, images, texts, located, levels: Sequence[int]
) -> tuple[Tensor, Tensor]:
  """How good an answer a region is to each token.

  Args:
    model: `SLANModel`.
    images: states of the images.
    texts: states of their texts.
    located: regions of the pairs.
    levels: those to look at, 0 = as the filter gives them.

  Returns:
    [B, C, R, N] in [0, 1]: saliency times the probability of the token, with a
    word map also times the fit of the box to the phrase's map, where the
    export says so; and bool [B, N], the tokens that count.
  """
  cosine, counts = region_tokens.token_cosines(
    model, images, texts, located, levels
  )
  tau, nothing = (
    torch.as_tensor(model.localisation[name], device=cosine.device)
    for name in ("temperature", "nothing")
  )
  tau = tau.clamp(*_TEMPERATURE)
  logits = (cosine / tau).masked_fill(~counts[:, None, None], -1e9)
  nothing = (nothing / tau).expand(*logits.shape[:3], 1)
  named = torch.cat([logits, nothing], -1).softmax(-1)[..., :-1]
  index = images.regions["index"]
  saliency = images.proposals["saliency_logit"].gather(1, index)
  scores = named * saliency.float().sigmoid()[:, None, :, None]
  if model.config.detection.fit and texts.phrases is not None:
    scores = scores * region_tokens.phrase_fit(
      model, images, texts, located, levels
    )
  return scores, counts
