import jax
import numpy as np
import pytest

from slan_jax.tasks import nlvr2
from tests.models.small import (
  LENGTH,
  random_params,
  small_batch,
  small_config,
)


@pytest.fixture(scope="module")
def built():
  task = nlvr2.make_task(
    small_config("scenes", model__adaptor__levels=1)[0],
    batch_size=4,
    microbatches=2,
    max_length=LENGTH,
  )
  params = random_params(task)
  batch = small_batch(task)
  batch["label"] = np.array([0, 1, 1, 0], np.int32)
  inputs = [batch[name] for name in ("image", "text", "text_mask")]
  return task, params, batch, inputs, jax.jit(task.predict["decide"])


def test_both_pictures_their_sides_and_the_statement_count(built):
  _, params, _, (image, text, mask), decide = built
  odds = np.asarray(decide(params, image, text, mask))
  assert odds.shape == (4,)
  for changed in (
    (image[:, ::-1], text, mask),
    (np.concatenate([255 - image[:, :1], image[:, 1:]], 1), text, mask),
    (np.concatenate([image[:, :1], 255 - image[:, 1:]], 1), text, mask),
    (image, np.roll(text, 1, axis=0), mask),
  ):
    assert (np.abs(decide(params, *changed) - odds) > 1e-6).all()
  # Rows do not meet, and padding is never read.
  rows = [2, 0, 3, 1]
  np.testing.assert_allclose(
    decide(params, image[rows], text[rows], mask[rows]), odds[rows], rtol=1e-3
  )
  np.testing.assert_allclose(
    decide(params, image, np.where(mask, text, 9), mask), odds, rtol=1e-3
  )


def test_loss_is_the_cross_entropy_of_the_odds(built):
  task, params, batch, inputs, decide = built
  value, (metrics, _) = jax.jit(
    lambda params, batch: task.loss(
      params, {}, {}, batch, key=jax.random.key(0), step=0, stage=0
    )
  )(params, batch)
  sign = np.where(batch["label"], 1, -1)
  odds = np.asarray(decide(params, *inputs))
  expected = np.log1p(np.exp(-sign * odds)).mean()
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  assert metrics["accuracy"] == ((sign * odds > 0).sum(), 4)
