import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.objective import matching


def test_loss_and_accuracy_by_hand():
  logits = jnp.array([[0.0, 1.0], [0.0, 0.0], [5.0, 0.0]])
  labels = jnp.array([1, 0, 1])
  valid = jnp.array([True, True, False])
  loss, count = matching.matching_loss(logits, labels, valid)
  expected = np.log(1 + np.exp(-1.0)) + np.log(2.0)
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  assert count == 2
  right, _ = matching.matching_accuracy(logits, labels, valid)
  assert right == 2


def test_negatives_are_never_forbidden_and_favour_the_similar():
  count = 5
  similarity = jnp.zeros((count, count)).at[0, 3].set(3.0)
  forbidden = jnp.eye(count, dtype=bool).at[1, 2].set(True)
  draws = jax.vmap(
    lambda key: matching.hard_negatives(similarity, forbidden, key=key)[0]
  )(jax.random.split(jax.random.key(0), 400))
  draws = np.asarray(draws)
  assert not np.asarray(forbidden)[np.arange(count)[None], draws].any()
  share = (draws[:, 0] == 3).mean()
  expected = np.exp(3.0) / (np.exp(3.0) + 3)
  assert abs(share - expected) < 0.06


def test_a_batch_of_one_has_no_negative_and_does_not_fail():
  index, valid = matching.hard_negatives(
    jnp.zeros((1, 1)), jnp.ones((1, 1), bool), key=jax.random.key(0)
  )
  assert index.shape == (1,)
  assert not valid[0]
  loss, count = matching.matching_loss(
    jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32), valid
  )
  assert loss == 0 and count == 0
