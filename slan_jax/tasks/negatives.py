"""Unmatched pairs for image-text matching (Eq. 4).

Axes: B batch.
"""

from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch
from slan_jax.models.slan import ImageState, TextState
from slan_jax.objective import contrastive, matching
from slan_jax.tasks.encoded import Encoded


def negative_pairs(
  online: Encoded,
  swapped: TextState | None,
  batch: dict[str, jax.Array],
  tau: jax.Array,
  *,
  key: jax.Array,
) -> list[tuple[ImageState, TextState, jax.Array]]:
  """Images, texts and validity of ITM's negatives.

  As ALBEF: a hard text for each image and a hard image for each text. With
  swapped words each row has one negative instead: a hard text, a hard image
  or its own caption with one word changed, by turns.
  """
  image, text = online.image, online.text
  similarity = jax.lax.stop_gradient(
    jnp.einsum("ip,tp->it", image.embedding, text.embedding) / tau
  )
  forbidden = contrastive.same(batch["image_id"], batch["image_id"])
  forbidden |= contrastive.same(batch["text_id"], batch["text_id"])
  text_key, image_key = jax.random.split(key)
  hard_text, text_valid = matching.hard_negatives(
    similarity, forbidden, key=text_key
  )
  hard_image, image_valid = matching.hard_negatives(
    similarity.T, forbidden.T, key=image_key
  )
  if swapped is None:
    return [
      (image, _take(text, hard_text), text_valid),
      (_take(image, hard_image), text, image_valid),
    ]
  rows = jnp.arange(hard_text.shape[0])
  turn = rows % 3
  exists = jnp.any(batch["negatives_mask"][:, 0], axis=-1)
  use_swapped, use_image = (turn == 2) & exists, turn == 1
  text_index = jnp.where(use_image, rows, hard_text)
  text_index = jnp.where(use_swapped, rows.shape[0] + rows, text_index)
  both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), text, swapped)
  valid = jnp.where(use_image, image_valid, text_valid) | use_swapped
  image_index = jnp.where(use_image, hard_image, rows)
  return [(_take(image, image_index), _take(both, text_index), valid)]


def _take(state: Any, index: jax.Array) -> Any:
  return constrain_batch(jax.tree.map(lambda array: array[index], state))
