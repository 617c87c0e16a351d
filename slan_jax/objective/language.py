"""Language modelling (Eq. 7).

Axes: B batch, N tokens, V vocabulary.
"""

import jax
import jax.numpy as jnp


def token_loss(
  logits: jax.Array,
  targets: jax.Array,
  counted: jax.Array,
  *,
  label_smoothing: float,
) -> tuple[jax.Array, jax.Array]:
  """Cross entropy H(p_mask, y_mask) of the counted tokens.

  Masked modelling counts the masked tokens (Eq. 7); causal modelling hands in
  shifted targets and counts every token that has a successor.

  Args:
    logits: [B, N, V].
    targets: [B, N] int32 token ids.
    counted: [B, N] bool.
    label_smoothing: mass spread evenly over the vocabulary; 0 for Eq. 7.

  Returns:
    Sum and count, float32 scalars.
  """
  loss = token_losses(logits, targets, label_smoothing=label_smoothing)
  weight = counted.astype(jnp.float32)
  return jnp.sum(loss * weight), jnp.sum(weight)


def token_losses(
  logits: jax.Array, targets: jax.Array, *, label_smoothing: float
) -> jax.Array:
  """Cross entropy of every token by itself: [B, N] float32.

  Args:
    logits: [B, N, V].
    targets: [B, N] int32 token ids.
    label_smoothing: mass spread evenly over the vocabulary.
  """
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  hit = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
  even = jnp.mean(log_p, axis=-1)
  return -(1 - label_smoothing) * hit - label_smoothing * even
