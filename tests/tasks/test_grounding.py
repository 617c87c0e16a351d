import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.small import LENGTH, small_batch, small_task


@pytest.mark.parametrize("argument", ["scenes", "scenes,preset=paper"])
def test_predictions_fit_their_contract(argument):
  task = small_task(argument)
  params, _ = jax.jit(task.init)(jax.random.key(0))
  batch = small_batch(task)
  ids, mask = batch["text"], batch["text_mask"]
  images = jax.jit(task.predict["encode_image"])(params, batch["image"])
  found = jax.jit(task.predict["ground"])(params, images, ids, mask)
  assert found["boxes"].shape == (4, 4, 3, 4)
  assert found["scores"].shape == (4, 4, 3, LENGTH)
  assert found["map"].shape[-1] == LENGTH
  assert found["proposals"].shape == (4, 4, 4)
  weight = np.asarray(found["token_weight"])
  assert (weight.sum(1) > 0).all()  # every text has something to find
  assert (weight[:, 0] == 0).all() and (weight[~mask] == 0).all()
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))


def test_itm_of_a_pair_does_not_depend_on_its_neighbours():
  task = small_task("scenes")
  params, _ = jax.jit(task.init)(jax.random.key(0))
  batch = small_batch(task)
  encode_image = jax.jit(task.predict["encode_image"])
  encode_text = jax.jit(task.predict["encode_text"])
  images = encode_image(params, batch["image"])
  texts = encode_text(params, batch["text"], batch["text_mask"])
  itm = jax.jit(task.predict["itm"])
  whole = itm(params, images, texts)
  rows = jnp.array([2, 0, 1, 3])
  swapped = itm(params, *jax.tree.map(lambda leaf: leaf[rows], (images, texts)))
  np.testing.assert_allclose(swapped, whole[rows], rtol=1e-4, atol=1e-5)
  scores = task.predict["phrase"](params, images, texts)
  assert scores.shape == (4, 4)
  assert (jnp.abs(scores) <= 1.0 + 1e-5).all()
