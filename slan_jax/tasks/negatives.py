"""Unmatched pairs for image-text matching (Eq. 4).

Axes: B batch, G pools, P rows of a pool (B = G P).
"""

from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch
from slan_jax.models.slan import ImageState, TextState
from slan_jax.objective import contrastive, matching
from slan_jax.tasks.config import Objective
from slan_jax.tasks.encoded import Encoded

Pairs = list[tuple[ImageState, TextState, jax.Array]]


def negative_pairs(
  objective: Objective,
  online: Encoded,
  swapped: TextState | None,
  batch: dict[str, jax.Array],
  tau: jax.Array,
  *,
  key: jax.Array,
) -> Pairs:
  """Images, texts and validity of ITM's negatives.

  As ALBEF: a hard text for each image and a hard image for each text. With
  swapped words each row has one negative instead: a hard text, a hard image
  or its own caption with one word changed, by turns.

  Without `hard_images` every image stays where it is: in place of a hard image
  for each text, each image meets a text that is likely to choose it. What a
  device holds of an image is a hundred times what it holds of a text.
  """
  image, text = online.image, online.text
  texts, images = _drawn(objective, online, batch, tau, key=key)
  (hard_text, text_valid), (hard_other, other_valid) = texts, images
  pool = hard_text.shape[1]
  valid = text_valid.reshape(-1), other_valid.reshape(-1)
  if swapped is None:
    first = image, _take(text, hard_text), valid[0]
    if objective.hard_images:
      return [first, (_take(image, hard_other), text, valid[1])]
    return [first, (image, _take(text, hard_other), valid[1])]
  own = jnp.broadcast_to(jnp.arange(pool)[None], hard_text.shape)
  turn = jnp.arange(hard_text.size).reshape(hard_text.shape) % 3
  exists = jnp.any(batch["negatives_mask"][:, 0], axis=-1)
  use_swapped = (turn == 2) & exists.reshape(turn.shape)
  use_other = turn == 1
  other_text = own if objective.hard_images else hard_other
  text_index = jnp.where(use_other, other_text, hard_text)
  text_index = jnp.where(use_swapped, pool + own, text_index)
  both = jax.tree.map(
    lambda a, b: _join(_split(a, pool), _split(b, pool)), text, swapped
  )
  if objective.hard_images:
    image = _take(image, jnp.where(use_other, hard_other, own))
  valid = jnp.where(use_other, other_valid, text_valid) | use_swapped
  return [(image, _take(both, text_index), valid.reshape(-1))]


def _drawn(objective, online, batch, tau, *, key):
  """Row of the pool, and whether there is one, for each row: two [G, P] pairs.

  The first draws a text for each image. The second draws an image for each
  text or, without `hard_images`, a text j for image i by p(i | j): the pairs
  that the texts would choose, spread evenly over the images.
  """
  size = batch["image_id"].shape[0]
  pool = min(objective.negative_pool or size, size)

  def pools(rows: jax.Array) -> jax.Array:
    return _split(rows, pool)

  similarity = jax.lax.stop_gradient(
    jnp.einsum(
      "gip,gtp->git",
      pools(online.image.embedding),
      pools(online.text.embedding),
    )
    / tau
  )
  same = jax.vmap(contrastive.same)
  forbidden = same(pools(batch["image_id"]), pools(batch["image_id"]))
  forbidden |= same(pools(batch["text_id"]), pools(batch["text_id"]))
  text_key, image_key = jax.random.split(key)
  texts = matching.hard_negatives(similarity, forbidden, key=text_key)
  if objective.hard_images:
    turned = similarity.swapaxes(1, 2), forbidden.swapaxes(1, 2)
    return texts, matching.hard_negatives(*turned, key=image_key)
  rivals = jnp.where(forbidden, -jnp.inf, similarity)
  total = jax.nn.logsumexp(rivals, axis=1, keepdims=True)
  chosen = similarity - jnp.where(jnp.isfinite(total), total, 0.0)
  return texts, matching.hard_negatives(chosen, forbidden, key=image_key)


def _split(array: jax.Array, pool: int) -> jax.Array:
  """[B, ...] -> [G, P, ...]."""
  return array.reshape(-1, pool, *array.shape[1:])


def _join(first: jax.Array, second: jax.Array) -> jax.Array:
  """Two [G, P, ...] as one [2 B, ...], each pool's rows side by side."""
  both = jnp.concatenate([first, second], axis=1)
  return both.reshape(-1, *both.shape[2:])


def _take(state: Any, index: jax.Array) -> Any:
  """Rows [B] of a state [G P, ...], by an index [G, P] within each pool."""
  groups = index.shape[0]

  def take(array: jax.Array) -> jax.Array:
    rows = jax.vmap(lambda a, i: a[i])(
      array.reshape(groups, -1, *array.shape[1:]), index
    )
    return rows.reshape(-1, *array.shape[1:])

  return constrain_batch(jax.tree.map(take, state))
