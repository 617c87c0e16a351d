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
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  hit = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
  loss = -(1 - label_smoothing) * hit
  loss -= label_smoothing * jnp.mean(log_p, axis=-1)
  weight = counted.astype(jnp.float32)
  return jnp.sum(loss * weight), jnp.sum(weight)
