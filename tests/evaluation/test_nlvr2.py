import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation.evaluator import Batching
from slan_jax.evaluation.nlvr2 import judge_statements


def decide(params, image, text, mask):
  """Left minus right, plus the real tokens."""
  pictures = image.astype(jnp.float32)[:, :, 0, 0, 0]
  words = jnp.where(mask, text, 0).sum(1)
  return params * (pictures[:, 0] - pictures[:, 1]) + words


def judge(params, size, count=5, put=None):
  rng = np.random.default_rng(0)
  left, right = rng.integers(0, 99, (2, count, 2, 2, 3), dtype=np.uint8)
  tokens = rng.integers(0, 9, (count, 3), dtype=np.int32)
  mask = np.arange(3)[None] < rng.integers(1, 4, (count, 1))
  odds = judge_statements(
    {"decide": decide}, jnp.float32(params), left, right, tokens, mask,
    batching=Batching(size, 1, put=put, progress=False),
  )  # fmt: skip
  sides = left[:, 0, 0, 0].astype(float) - right[:, 0, 0, 0]
  return odds, params * sides + np.where(mask, tokens, 0).sum(1)


@pytest.mark.parametrize("size", [2, 5])
def test_partial_batches_are_exact(size):
  np.testing.assert_allclose(*judge(2.0, size))


@pytest.mark.parametrize("size", [3, 4])  # whole on each device, and split
def test_any_mesh_judges_alike(size, put):
  plain, _ = judge(2.0, 5)
  np.testing.assert_array_equal(judge(2.0, size, put=put)[0], plain)


def test_bad_odds_and_empty_splits_are_refused():
  with pytest.raises(ValueError, match="not finite"):
    judge(np.inf, 2)
  with pytest.raises(ValueError, match="no statement"):
    judge(1.0, 2, count=0)
