"""How regions answer the tokens of a text, after each level.

Axes: B pairs, L levels, R regions, N tokens, P phrases, D width.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from slan_jax.models.layers import l2_normalize
from slan_jax.models.locator import Located
from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.models.word_map import inner_tokens
from slan_jax.ops.roi_align import roi_align


def token_cosines(
  model: Slan,
  call: Callable,
  images: ImageState,
  texts: TextState,
  located: Located,
) -> tuple[jax.Array, jax.Array]:
  """Cosine of every region with every token that stands for something.

  Args:
    model: the model.
    call: applies one of its methods.
    images: states of the images.
    texts: states of their texts.
    located: regions of the pairs.

  Returns:
    [B, L + 1, R, N] float32, and [B, N] bool, the tokens that count: with a
    word map the last word of each phrase, else all but marks.
  """
  if texts.phrases is None:
    return word_cosines(model, images, located), inner_tokens(texts.mask)
  place = phrase_places(texts)
  raw = call(images, texts, method="phrase_maps").cosine
  cosines = _pooled(raw, located.boxes, model.cfg.adaptor.roi_size)
  tokens = jnp.einsum("blrp,bpn->blrn", cosines, place)
  return tokens, jnp.any(place > 0, axis=1)


def phrase_places(texts: TextState) -> jax.Array:
  """Token that speaks for each phrase, its last word: [B, P, N] float32."""
  place = jax.nn.one_hot(texts.phrases["head"], texts.mask.shape[1])
  return jnp.where(texts.phrases["mask"][..., None], place, 0.0)


def word_cosines(
  model: Slan, images: ImageState, located: Located
) -> jax.Array:
  """Cosine of words with the region pooled after each level: [B, L+1, R, N]."""
  words = l2_normalize(located.words)
  scores = []
  for level in range(located.boxes.shape[1]):
    pooled = roi_align(
      images.pyramid[max(level - 1, 0)],
      located.boxes[:, level],
      output_size=model.cfg.adaptor.roi_size,
      sampling_ratio=model.cfg.adaptor.sampling_ratio,
    )
    pooled = l2_normalize(jnp.mean(pooled, axis=(2, 3)))
    scores.append(jnp.einsum("brd,bnd->brn", pooled, words))
  return jnp.stack(scores, axis=1)


def phrase_fit(
  call: Callable, images: ImageState, texts: TextState, boxes: jax.Array
) -> jax.Array:
  """Fit of boxes [B, L+1, R, 4] to the phrases' maps: [B, L+1, R, N]."""
  levels, regions = boxes.shape[1:3]
  flat = boxes.reshape(-1, levels * regions, 4)
  fit = call(images, texts, flat, method="box_fit")
  fit = fit.reshape(-1, levels, regions, fit.shape[-1])
  return jnp.einsum("blrp,bpn->blrn", fit, phrase_places(texts))


def _pooled(raw: jax.Array, boxes: jax.Array, samples: int) -> jax.Array:
  """Mean similarity in each box; what moves boxes is not their score."""
  levels, regions = boxes.shape[1:3]
  flat = jax.lax.stop_gradient(boxes).reshape(-1, levels * regions, 4)
  pooled = roi_align(raw, flat, output_size=1, sampling_ratio=samples)
  return pooled.reshape(-1, levels, regions, raw.shape[-1])
