"""Token corruption for masked language modelling (Eq. 7).

Letters: B batch, N tokens.
"""

import jax
import jax.numpy as jnp

# BERT's shares of the chosen tokens (Devlin et al., 2019, appendix A.1).
_MASKED_SHARE = 0.8
_RANDOM_SHARE = 0.1  # the remaining tenth keeps its token


def mask_tokens(
  ids: jax.Array,
  maskable: jax.Array,
  *,
  key: jax.Array,
  rate: float,
  mask_id: int,
  vocab_size: int,
) -> tuple[jax.Array, jax.Array]:
  """Hides a share of the words, BERT's way (section 3.3, 15 %).

  Args:
    ids: [B, N] int32 tokens.
    maskable: [B, N] bool, True where a token may be chosen (no specials).
    key: random key.
    rate: chance of a maskable token to be chosen.
    mask_id: id of [MASK].
    vocab_size: random replacements are drawn below this id.

  Returns:
    Corrupted ids [B, N], and bool [B, N], True on the tokens to predict.
  """
  choose_key, action_key, token_key = jax.random.split(key, 3)
  chosen = jax.random.bernoulli(choose_key, rate, ids.shape) & maskable
  action = jax.random.uniform(action_key, ids.shape)
  random_ids = jax.random.randint(
    token_key, ids.shape, 0, vocab_size, dtype=ids.dtype
  )
  replacement = jnp.where(
    action < _MASKED_SHARE,
    jnp.asarray(mask_id, ids.dtype),
    jnp.where(action < _MASKED_SHARE + _RANDOM_SHARE, random_ids, ids),
  )
  return jnp.where(chosen, replacement, ids), chosen
