"""Image-text matching with hard negatives (Eq. 4).

Axes: B batch, N pairs.
"""

import jax
import jax.numpy as jnp


def hard_negatives(
  similarity: jax.Array, forbidden: jax.Array, *, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Draws for each row one column, more often the more similar it is.

  ALBEF draws from softmax(similarity) with a zeroed diagonal, which fails
  when a row has no candidate; the Gumbel maximum cannot.

  Args:
    similarity: [B, B] float32 logits (cosine / temperature).
    forbidden: [B, B] bool, pairs that are not negatives.
    key: typed PRNG key.

  Returns:
    index: [B] int32 column of each row, and valid: [B] bool, False where all
    columns were forbidden (a batch of one).
  """
  noise = jax.random.gumbel(key, similarity.shape, jnp.float32)
  logits = jnp.where(forbidden, -jnp.inf, similarity + noise)
  return jnp.argmax(logits, axis=-1), ~jnp.all(forbidden, axis=-1)


def matching_loss(
  logits: jax.Array, labels: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Cross entropy H of Eq. 4.

  Args:
    logits: [N, 2], unmatched and matched.
    labels: [N] int32, 1 for matched.
    valid: [N] bool, pairs that count.

  Returns:
    Sum and count, float32 scalars.
  """
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  loss = -jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
  weight = valid.astype(jnp.float32)
  return jnp.sum(loss * weight), jnp.sum(weight)


def matching_accuracy(
  logits: jax.Array, labels: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Correct decisions and their count, as `matching_loss` takes them."""
  weight = valid.astype(jnp.float32)
  right = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
  return jnp.sum(right * weight), jnp.sum(weight)
