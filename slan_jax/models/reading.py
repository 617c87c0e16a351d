"""Addition to the paper: words and regions read the word map.

Eq. 1 has to find out from pairs alone which region a word should look at, while
the word map knows where each phrase is. So a word takes over what the map shows
at the place of its phrase, and a region what it shows inside its box. No
gradient reaches the map: contrast alone decides what it shows.

Axes: B pairs, R regions, N words, P phrases, C channels, D width, h w sides.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models.layers import layer_norm
from slan_jax.models.position import sine_position

EPSILON = 1e-6


class Reading(nn.Module):
  """What was read of the map, as states of width D."""

  width: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, appearance: jax.Array, more: jax.Array | None = None
  ) -> jax.Array:
    """Args: appearance [..., C]; more [..., K], as it is. Returns [..., D]."""
    x = layer_norm(EPSILON, self.dtype, "norm")(appearance)
    if more is not None:
      x = jnp.concatenate([x, more.astype(x.dtype)], axis=-1)
    return nn.Dense(self.width, dtype=self.dtype, name="out")(x)


class WordReading(nn.Module):
  """What each word's phrase found: how it looks, where it is, how surely."""

  width: int
  sharpness: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self,
    cells: jax.Array,
    cosine: jax.Array,
    peak: jax.Array,
    phrases: dict[str, jax.Array],
    words: int,
  ) -> jax.Array:
    """Reads at the peak of each phrase.

    Args:
      cells: [B, h, w, C] of the word map.
      cosine: [B, h, w, P] similarity of place and phrase.
      peak: [B, h, w, P] the same, relative to the phrase's own map.
      phrases: of `Phrases`.
      words: N.

    Returns:
      [B, N, D]; zero for words of no phrase.
    """
    cells, cosine, peak = jax.lax.stop_gradient((cells, cosine, peak))
    weight = jax.nn.softmax(self.sharpness * peak, axis=(1, 2))
    appearance = jnp.einsum("bhwp,bhwc->bpc", weight, cells)
    rows, columns = (
      (jnp.arange(side, dtype=jnp.float32) + 0.5) / side
      for side in peak.shape[1:3]
    )
    place = jnp.stack(
      [
        jnp.einsum("bhwp,w->bp", weight, columns),
        jnp.einsum("bhwp,h->bp", weight, rows),
      ],
      axis=-1,
    )
    surely = jnp.max(cosine, axis=(1, 2))[..., None]
    more = jnp.concatenate([sine_position(place, self.width), surely], axis=-1)
    read = Reading(self.width, self.dtype, name="found")(appearance, more)
    return jnp.einsum(
      "bpn,bpd->bnd", phrase_tokens(phrases, words).astype(read.dtype), read
    )


def phrase_tokens(phrases: dict[str, jax.Array], words: int) -> jax.Array:
  """Which tokens a phrase consists of: [B, P, N] bool."""
  token = jnp.arange(words)[None, None]
  head = phrases["head"][..., None]
  first = head + 1 - phrases["length"][..., None]
  return (token >= first) & (token <= head) & phrases["mask"][..., None]
