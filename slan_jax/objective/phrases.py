"""Phrase-to-map contrast: the addition that makes words find their regions.

A phrase is matched with the one place of the map that answers it best, so the
map must put the phrase's words together at one place. Needs captions only.

Axes: B images, C captions, P phrases, M map cells, D channels.
"""

import jax
import jax.numpy as jnp


def soft_maximum(similarity: jax.Array, sharpness: float) -> jax.Array:
  """Mean over the last axis weighted by softmax(sharpness * similarity)."""
  weight = jax.nn.softmax(sharpness * similarity, axis=-1)
  return jnp.sum(weight * similarity, axis=-1)


def caption_scores(
  maps: jax.Array, phrases: jax.Array, mask: jax.Array, *, sharpness: float
) -> jax.Array:
  """Scores every caption on every image.

  Args:
    maps: [B, M, D] float32, unit length.
    phrases: [C, P, D] float32, unit length.
    mask: [C, P] bool, phrases that exist.
    sharpness: of the soft maximum over cells.

  Returns:
    [B, C] float32, mean over phrases of the soft maximum over cells.
  """
  peak = soft_maximum(jnp.einsum("bmd,cpd->bcpm", maps, phrases), sharpness)
  return _mean(peak, mask[None])


def own_caption_scores(
  maps: jax.Array, phrases: jax.Array, mask: jax.Array, *, sharpness: float
) -> jax.Array:
  """Scores captions [B, C, P, D] on their own image only: [B, C]."""
  peak = soft_maximum(jnp.einsum("bmd,bcpd->bcpm", maps, phrases), sharpness)
  return _mean(peak, mask)


def _mean(peak: jax.Array, mask: jax.Array) -> jax.Array:
  weight = mask.astype(jnp.float32)
  return jnp.sum(peak * weight, -1) / jnp.maximum(jnp.sum(weight, -1), 1.0)


def phrase_loss(
  scores: jax.Array,
  negatives: jax.Array,
  *,
  scale: jax.Array,
  same_text: jax.Array,
  negatives_mask: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """InfoNCE both ways, with swapped-word captions as further text negatives.

  Args:
    scores: [B, B] of image i and caption j.
    negatives: [B, H] of image i and its swapped captions.
    scale: learned inverse temperature.
    same_text: [B, B] bool, pairs that are no negatives of each other.
    negatives_mask: [B, H] bool, swapped captions that exist.

  Returns:
    Sum over the batch of both directions, and count, float32 scalars.
  """
  count = scores.shape[0]
  eye = jnp.eye(count, dtype=bool)
  logits = jnp.where(same_text & ~eye, -1e9, scale * scores)
  extra = jnp.where(negatives_mask, scale * negatives, -1e9)
  to_text = jax.nn.log_softmax(jnp.concatenate([logits, extra], 1), axis=1)
  to_image = jax.nn.log_softmax(logits, axis=0)
  diagonal = jnp.diagonal(to_text[:, :count]) + jnp.diagonal(to_image)
  return -jnp.sum(diagonal), jnp.float32(count)
