import jax.numpy as jnp
import numpy as np

from slan_jax.objective import language


def test_only_counted_tokens_enter():
  logits = jnp.log(jnp.array([[[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]]))
  targets = jnp.array([[0, 1]])
  counted = jnp.array([[True, False]])
  loss, count = language.token_loss(
    logits, targets, counted, label_smoothing=0.0
  )
  np.testing.assert_allclose(loss, -np.log(0.7), rtol=1e-5)
  assert count == 1


def test_label_smoothing_by_hand():
  p = np.array([0.7, 0.2, 0.1])
  loss, _ = language.token_loss(
    jnp.log(p)[None, None],
    jnp.array([[0]]),
    jnp.array([[True]]),
    label_smoothing=0.1,
  )
  expected = -0.9 * np.log(0.7) - 0.1 * np.log(p).mean()
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_nothing_masked_gives_zero_not_nan():
  loss, count = language.token_loss(
    jnp.zeros((1, 2, 3)),
    jnp.zeros((1, 2), jnp.int32),
    jnp.zeros((1, 2), bool),
    label_smoothing=0.0,
  )
  assert loss == 0 and count == 0
