"""Eq. 1: regions and words attend to each other through one score map.

Letters: B batch, R regions, T words, h heads, c channels of a head (D = h c).
"""

import jax
import jax.numpy as jnp

# Finite, so that a fully masked row has a defined (and unused) gradient.
_MASKED = -1e9


def cross_attend(
  regions: jax.Array,
  words: jax.Array,
  region_mask: jax.Array,
  word_mask: jax.Array,
  *,
  heads: int,
) -> tuple[jax.Array, jax.Array]:
  """Eq. 1, read literally: no projections, no residual, both directions.

  The paper says "multi-head" but writes none: heads split the channels, and
  each divides by the root of its own width; one head is Eq. 1 as printed.
  Masked regions and words take part in neither softmax.

  Args:
    regions: [B, R, D] float, E^G.
    words: [B, T, D] float, E^T.
    region_mask: [B, R] bool, True on kept regions.
    word_mask: [B, T] bool, True on real tokens.
    heads: number of heads; divides D.

  Returns:
    New regions [B, R, D] and words [B, T, D] in the inputs' dtypes. All rows
    of an example are zero where the other side has nothing to attend to.

  Raises:
    ValueError: D is not divisible by `heads`.
  """
  width = regions.shape[-1]
  if width % heads:
    raise ValueError(f"width {width} is not divisible by heads={heads}")
  split_regions = _split(regions, heads)
  split_words = _split(words, heads)
  scores = (
    jnp.einsum(
      "brhc,bthc->bhrt",
      split_regions,
      split_words,
      preferred_element_type=jnp.float32,
    )
    * (heads / width) ** 0.5
  )
  to_words = _masked_softmax(scores, word_mask[:, None, None, :], axis=-1)
  to_regions = _masked_softmax(scores, region_mask[:, None, :, None], axis=-2)
  new_regions = jnp.einsum(
    "bhrt,bthc->brhc", to_words.astype(words.dtype), split_words
  )
  new_words = jnp.einsum(
    "bhrt,brhc->bthc", to_regions.astype(regions.dtype), split_regions
  )
  return (
    new_regions.reshape(regions.shape).astype(regions.dtype),
    new_words.reshape(words.shape).astype(words.dtype),
  )


def _split(array: jax.Array, heads: int) -> jax.Array:
  return array.reshape(*array.shape[:-1], heads, -1)


def _masked_softmax(
  scores: jax.Array, mask: jax.Array, *, axis: int
) -> jax.Array:
  weights = jax.nn.softmax(jnp.where(mask, scores, _MASKED), axis=axis)
  return jnp.where(mask, weights, 0.0)
