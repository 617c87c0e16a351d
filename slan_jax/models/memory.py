"""What the text decoder looks at. Axes: B images, M states, D width."""

import jax
import jax.numpy as jnp

from slan_jax.models.locator import Located
from slan_jax.models.slan import ImageState, TextState

Memory = tuple[jax.Array, jax.Array]


def caption_memory(image: ImageState, adapted: jax.Array) -> Memory:
  """For a caption (4.2.2): V's cells and E_L^G.

  Args:
    image: states of B images.
    adapted: [B, R, D], E_L^G.

  Returns:
    [B, M, D], and bool [B, M], what counts.
  """
  cells = image.v.reshape(image.v.shape[0], -1, image.v.shape[-1])
  mask = jnp.ones(cells.shape[:2], bool)
  return (
    jnp.concatenate([cells, adapted.astype(cells.dtype)], axis=1),
    jnp.concatenate([mask, image.regions["mask"]], axis=1),
  )


def answer_memory(image: ImageState, text: TextState, found: Located) -> Memory:
  """For an answer (4.2.3): E_L^T and E_L^G; as `caption_memory`."""
  regions = found.regions.astype(found.words.dtype)
  return (
    jnp.concatenate([found.words, regions], axis=1),
    jnp.concatenate([text.mask, image.regions["mask"]], axis=1),
  )
