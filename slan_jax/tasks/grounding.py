"""Phrase grounding (section 4.2.6): regions and scores of every word.

Axes: B pairs, L levels, R regions, N words, P phrases.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.models.layers import l2_normalize
from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.models.word_map import inner_tokens
from slan_jax.ops.roi_align import roi_align

Grounded = dict[str, jax.Array]


def predictions(model: Slan) -> dict[str, Callable]:
  """`ground`: (params, images, text, text_mask) -> regions and scores."""
  return {"ground": functools.partial(_ground, model)}


def _ground(
  model: Slan,
  params: Any,
  images: ImageState,
  text: jax.Array,
  text_mask: jax.Array,
) -> Grounded:
  """Locates a caption's words.

  Args:
    model: the model.
    params: of the task.
    images: B encoded images: those of several captions are encoded once.
    text: [B, N] int32. text_mask: [B, N] bool, real tokens.

  Returns:
    boxes [B, L+1, R, 4] cxcywh in [0, 1]; region_mask [B, R]; scores
    [B, L+1, R, N], how well a region fits a word after each level;
    token_weight [B, N], how much a token says about its phrase; map
    [B, h, w, N], where each word is; proposals [B, Q, 4] and proposal_score
    [B, Q], the saliency before the region filter.
  """
  call = functools.partial(model.apply, {"params": params["slan"]})
  texts = call(text, text_mask, method="encode_text")
  located = call(images, texts, method="locate")
  found = {
    "boxes": located.boxes,
    "region_mask": images.regions["mask"],
    "proposals": images.proposals["boxes"],
    "proposal_score": jax.nn.sigmoid(images.proposals["saliency_logit"]),
  }
  if texts.phrases is not None:
    return found | _by_phrases(call, images, texts, located.boxes)
  return found | _by_words(model, images, texts, located)


def _by_phrases(call, images: ImageState, texts: TextState, boxes) -> Grounded:
  """Scores a head noun by the fit of the box to its phrase's map."""
  heads = texts.phrases
  place = jax.nn.one_hot(heads["head"], texts.mask.shape[1])
  place = jnp.where(heads["mask"][..., None], place, 0.0)  # [B, P, N]
  levels = boxes.shape[1]
  fit = [
    call(images, texts, boxes[:, level], method="box_fit")
    for level in range(levels)
  ]
  _, fine = call(images, texts, method="phrase_maps")
  return {
    "scores": jnp.einsum("blrp,bpn->blrn", jnp.stack(fit, 1), place),
    "token_weight": jnp.max(place, axis=1),
    "map": jnp.einsum("bhwp,bpn->bhwn", fine, place),
  }


def _by_words(
  model: Slan, images: ImageState, texts: TextState, located
) -> Grounded:
  """Scores a word by its cosine with the region pooled after each level."""
  words = l2_normalize(located.words)
  scores = []
  for level in range(located.boxes.shape[1]):
    features = images.pyramid[max(level - 1, 0)]
    pooled = roi_align(
      features,
      located.boxes[:, level],
      output_size=model.cfg.adaptor.roi_size,
      sampling_ratio=model.cfg.adaptor.sampling_ratio,
    )
    pooled = l2_normalize(jnp.mean(pooled, axis=(2, 3)))
    scores.append(jnp.einsum("brd,bnd->brn", pooled, words))
  return {
    "scores": jnp.stack(scores, axis=1),
    "token_weight": inner_tokens(texts.mask).astype(jnp.float32),
    "map": jnp.einsum(
      "bhwd,bnd->bhwn", l2_normalize(images.pyramid[-1]), words
    ),
  }
