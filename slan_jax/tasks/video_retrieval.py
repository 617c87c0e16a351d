"""Zero-shot video-text retrieval (section 4.2.5): m frames are one long image.

The paper concatenates m frames and feeds them to its retrieval model. ITC is
the mean over frames (as BLIP); ITM pools the regions of all frames, at most T
of each.

Axes: V clips, m frames, T texts, N pairs of a clip and a text.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.tasks import retrieval


def predictions(model: Slan) -> dict[str, Callable]:
  """Those of image-text retrieval, for clips; see `retrieval.predictions`."""
  made = retrieval.predictions(model) | {
    "encode_image": functools.partial(_encode_clip, model),
    "itc": _itc,
    "itm": functools.partial(_itm, model),
  }
  if "phrase" in made:
    made["phrase"] = _phrase
  return made


def _encode_clip(model: Slan, params: Any, clips: jax.Array) -> ImageState:
  """States of uint8 [V, m, S, S, 3]; their leaves lead with [V, m]."""
  count, frames = clips.shape[:2]
  states = model.apply(
    {"params": params["slan"]},
    clips.reshape(-1, *clips.shape[2:]),
    method="encode_image",
  )
  return jax.tree.map(lambda x: x.reshape(count, frames, *x.shape[1:]), states)


def _itc(params: Any, clips: ImageState, texts: TextState) -> jax.Array:
  """Mean over frames of the cosine: [V, T]."""
  del params
  embedding = jnp.mean(clips.embedding, axis=1)
  return jnp.einsum("vp,tp->vt", embedding, texts.embedding)


def _phrase(params: Any, clips: ImageState, texts: TextState) -> jax.Array:
  """Mean over phrases of the best place of all frames: [V, T]."""
  whole = clips._replace(
    word_map=clips.word_map.reshape(
      clips.word_map.shape[0], -1, 1, clips.word_map.shape[-1]
    )
  )
  return retrieval.phrase_scores(params, whole, texts)


def _itm(
  model: Slan, params: Any, clips: ImageState, texts: TextState
) -> jax.Array:
  """Log odds that aligned pairs match: [N].

  Eq. 4 is linear in the pooled regions and words. Pooling the regions of all
  frames is therefore the mean of the frames' log odds, each weighted by how
  many regions it keeps; words and evidence are averaged alike.
  """
  count, frames = clips.embedding.shape[:2]
  flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), clips)
  words = jax.tree.map(lambda x: jnp.repeat(x, frames, axis=0), texts)
  odds = retrieval.match_odds(model, params, flat, words)
  kept = jnp.sum(clips.regions["mask"].astype(jnp.float32), axis=-1)
  odds = odds.reshape(count, frames) * kept
  return jnp.sum(odds, axis=1) / jnp.maximum(jnp.sum(kept, axis=1), 1.0)
