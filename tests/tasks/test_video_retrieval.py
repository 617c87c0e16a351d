"""Frames of a clip against the same frames as single images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models.slan import Slan
from slan_jax.tasks import retrieval, video_retrieval
from tests.models.small import (
  random_params,
  small_batch,
  small_config,
  small_task,
)

FRAMES = 2


@pytest.fixture(scope="module")
def scored():
  """Scores of 2 clips of 2 frames with 2 texts, and of each frame alone."""
  task = small_task("scenes", model__adaptor__levels=1)
  params, batch = random_params(task), small_batch(task)
  model = Slan(small_config("scenes", model__adaptor__levels=1)[0])
  clip, image = video_retrieval.predictions(model), retrieval.predictions(model)
  clips = batch["image"].reshape(2, FRAMES, *batch["image"].shape[1:])
  texts = jax.jit(image["encode_text"])(
    params, batch["text"][:2], batch["text_mask"][:2]
  )
  whole = jax.jit(clip["encode_image"])(params, clips)
  # One region less in the third image, so that frames weigh differently.
  mask = whole.regions["mask"].at[...].set(True).at[1, 0, -1].set(False)
  whole = whole._replace(regions=whole.regions | {"mask": mask})
  single = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), whole)
  twice = jax.tree.map(lambda x: jnp.repeat(x, FRAMES, axis=0), texts)
  return {
    "clip": {
      "itc": clip["itc"](params, whole, texts),
      "phrase": clip["phrase"](params, whole, texts),
      "itm": jax.jit(clip["itm"])(params, whole, texts),
    },
    "frame": {
      "itc": image["itc"](params, single, texts),
      "phrase": image["phrase"](params, single, texts),
      "itm": jax.jit(image["itm"])(params, single, twice),
    },
    "states": (params, model, single, twice),
  }


def test_itc_is_the_mean_over_frames(scored):
  mean = scored["frame"]["itc"].reshape(2, FRAMES, 2).mean(1)
  np.testing.assert_allclose(scored["clip"]["itc"], mean, rtol=1e-5)


def test_a_phrase_may_be_found_in_any_frame(scored):
  clip, frame = scored["clip"]["phrase"], scored["frame"]["phrase"]
  assert (clip >= frame.reshape(2, FRAMES, 2).max(1) - 1e-5).all()
  assert (clip <= 1 + 1e-5).all()


def test_itm_pools_the_regions_of_all_frames(scored):
  """Against Eq. 4 on the pooled vectors, the head's weights read by hand."""
  params, model, images, texts = scored["states"]
  slan = {"params": params["slan"]}

  @jax.jit
  def parts(images, texts):
    located = model.apply(slan, images, texts, method="locate")
    evidence = model.apply(slan, images, texts, located, method="_evidence")
    return located.regions, located.words[:, 0], evidence

  regions, words, evidence = parts(images, texts)
  mask = np.asarray(images.regions["mask"], float).reshape(2, -1, 1)
  assert mask.sum(1)[:, 0].tolist() == [6, 5]
  share = np.asarray(images.regions["mask"], float).sum(1).reshape(2, FRAMES)
  share = (share / share.sum(1, keepdims=True))[..., None]
  pooled = (np.asarray(regions).reshape(2, -1, regions.shape[-1]) * mask).sum(1)
  pooled /= mask.sum(1)
  words, evidence = (
    (np.asarray(x).reshape(2, FRAMES, -1) * share).sum(1)
    for x in (words, evidence)
  )
  weights = jax.tree.map(np.asarray, params["slan"])
  logits = np.concatenate([pooled, words], 1) @ weights["matching"]["kernel"]
  logits += weights["matching"]["bias"]
  logits += evidence @ weights["evidence"]["kernel"]
  logits += weights["evidence"]["bias"]
  expected = logits[:, 1] - logits[:, 0]
  np.testing.assert_allclose(scored["clip"]["itm"], expected, rtol=1e-3)
