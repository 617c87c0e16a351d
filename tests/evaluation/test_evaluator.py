"""Batches of one size, caches within their budget."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slan_jax.evaluation import evaluator


@given(st.integers(0, 40), st.integers(1, 9))
def test_batches_cover_every_row_once(count, size):
  found = list(evaluator.batches(count, size))
  assert all(rows.shape == (size,) for rows, _ in found)
  real = [rows[:used] for rows, used in found]
  np.testing.assert_array_equal(
    np.concatenate([np.zeros(0, int), *real]), np.arange(count)
  )
  assert all((rows < count).all() for rows, _ in found)


def chunks(cache_bytes):
  batching = evaluator.Batching(2, 1, cache_bytes=cache_bytes, progress=False)
  images = np.arange(5, dtype=np.float32)[:, None]
  predict = {"encode_image": lambda params, x: x * params}
  return evaluator.ImageChunks(predict, jnp.float32(2), images, 5, batching)


def test_chunks_stay_while_they_fit():
  found = chunks(cache_bytes=16)  # two chunks of two floats
  states = [found.states(chunk) for chunk in range(len(found))]
  kept = [found.states(i) is state for i, state in enumerate(states)]
  assert kept == [True, True, False]
  np.testing.assert_array_equal(np.asarray(found.states(2))[:, 0], [8, 8])
  np.testing.assert_array_equal(found.rows(2), [4])
