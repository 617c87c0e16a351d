"""Image-text retrieval (section 4.2.1): what evaluation asks of the model.

Axes: I images, T texts, N pairs.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.models.slan import ImageState, Slan, TextState


def predictions(model: Slan) -> dict[str, Callable]:
  """encode_image, encode_text, itc, itm and, with a word map, phrase."""
  made = {
    "encode_image": functools.partial(_encode_image, model),
    "encode_text": functools.partial(_encode_text, model),
    "itc": _itc,
    "itm": functools.partial(match_odds, model),
  }
  if model.cfg.word_map.enabled:
    made["phrase"] = phrase_scores
  return made


def _encode_image(model: Slan, params: Any, image: jax.Array) -> ImageState:
  return model.apply({"params": params["slan"]}, image, method="encode_image")


def _encode_text(
  model: Slan, params: Any, text: jax.Array, text_mask: jax.Array
) -> TextState:
  return model.apply(
    {"params": params["slan"]}, text, text_mask, method="encode_text"
  )


def _itc(params: Any, images: ImageState, texts: TextState) -> jax.Array:
  """Cosine of the unimodal embeddings: [I, T]."""
  del params
  return jnp.einsum("ip,tp->it", images.embedding, texts.embedding)


def phrase_scores(
  params: Any, images: ImageState, texts: TextState
) -> jax.Array:
  """Mean over phrases of the best place on the word map: [I, T]."""
  del params
  maps = images.word_map.reshape(
    images.word_map.shape[0], -1, images.word_map.shape[-1]
  )
  vectors, mask = texts.phrases["vectors"], texts.phrases["mask"]
  peak = jnp.max(jnp.einsum("imd,tpd->itpm", maps, vectors), axis=-1)
  weight = mask.astype(jnp.float32)
  total = jnp.einsum("itp,tp->it", peak, weight)
  return total / jnp.maximum(jnp.sum(weight, -1), 1.0)[None]


def match_odds(
  model: Slan, params: Any, images: ImageState, texts: TextState
) -> jax.Array:
  """Log odds that aligned pairs match: [N]."""
  call = functools.partial(model.apply, {"params": params["slan"]})
  located = call(images, texts, method="locate")
  logits = call(images, texts, located, method="match")
  return logits[:, 1] - logits[:, 0]
