import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.objective import contrastive


def rows(count, start=0, width=4):
  features = np.zeros((count, width), np.float32)
  features[np.arange(count), np.arange(count) % width] = 1.0
  ids = np.arange(start, start + count, dtype=np.int32)
  return {"image": features, "text": features, "image_id": ids, "text_id": ids}


def test_loss_by_hand():
  query = jnp.array([[1.0, 0.0], [0.0, 1.0]])
  keys = jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
  ignored = jnp.zeros((2, 3), bool)
  loss, count = contrastive.contrastive_loss(
    query, keys, temperature=0.5, ignored=ignored, soft_targets=0.0
  )
  first = np.log(np.exp(2.0) + np.exp(1.2) + np.exp(0.0)) - 2.0
  second = np.log(np.exp(0.0) + np.exp(1.6) + np.exp(2.0)) - 1.6
  np.testing.assert_allclose(loss, first + second, rtol=1e-5)
  assert count == 2


def test_ignored_keys_leave_the_sum_but_never_the_positive():
  query = jnp.array([[1.0, 0.0]])
  keys = jnp.array([[1.0, 0.0], [1.0, 0.0]])
  loss, _ = contrastive.contrastive_loss(
    query,
    keys,
    temperature=1.0,
    ignored=jnp.ones((1, 2), bool),
    soft_targets=0.0,
  )
  np.testing.assert_allclose(loss, 0.0, atol=1e-6)


def test_matches_share_the_target_even_where_keys_are_passed_over():
  query = jnp.array([[1.0, 0.0]])
  keys = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
  matches = jnp.array([[True, False, True, False]])
  loss, count = contrastive.contrastive_loss(
    query,
    keys,
    temperature=1.0,
    ignored=jnp.array([[True, False, True, True]]),
    soft_targets=0.0,
    matches=matches,
  )
  total = np.log(np.exp([1.0, 0.0, 0.6]).sum())  # the last key is passed over
  np.testing.assert_allclose(loss, total - (1.0 + 0.6) / 2, rtol=1e-5)
  assert count == 1


def test_soft_targets_mix_the_teacher_in():
  query = jnp.array([[1.0, 0.0]])
  keys = jnp.eye(2)
  arguments = {
    "temperature": 1.0,
    "ignored": jnp.zeros((1, 2), bool),
    "teacher": jnp.array([[0.0, 1.0]]),
  }
  loss, _ = contrastive.contrastive_loss(
    query, keys, soft_targets=0.4, **arguments
  )
  log_p = np.log(np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum())
  guess = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
  target = 0.4 * guess + 0.6 * np.array([1.0, 0.0])
  np.testing.assert_allclose(loss, -(target * log_p).sum(), rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 20])
def test_queue_keeps_the_latest_rows_at_any_batch_size(batch):
  queue = contrastive.empty_queue(10, 4)
  seen = []
  for turn in range(5):
    new = rows(batch, start=100 * turn)
    queue = contrastive.enqueue(queue, new)
    seen += new["image_id"].tolist()
  kept = sorted(int(i) for i in queue["image_id"] if i != contrastive.EMPTY)
  assert kept == sorted(seen[-10:])


def test_empty_slots_are_no_negatives():
  queue = contrastive.empty_queue(3, 4)
  keys = contrastive.key_bank(queue, rows(2))
  same = contrastive.same(jnp.array([0, 1]), keys["image_id"])
  expected = [[True, False, True, True, True], [False, True, True, True, True]]
  assert same.tolist() == expected


def test_no_queue_is_in_batch_contrast():
  queue = contrastive.empty_queue(0, 4)
  after = contrastive.enqueue(queue, rows(3))
  assert after["image"].shape == (0, 4)
  keys = contrastive.key_bank(queue, rows(3))
  assert keys["text"].shape == (3, 4)


def test_gradient_pulls_the_pair_together():
  def loss(query):
    value, _ = contrastive.contrastive_loss(
      query,
      jnp.eye(2),
      temperature=1.0,
      ignored=jnp.zeros((2, 2), bool),
      soft_targets=0.0,
    )
    return value

  gradient = jax.grad(loss)(jnp.zeros((2, 2)))
  assert (jnp.diagonal(gradient) < 0).all()
