"""Driving detect over prompts and batches equals one pass by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation import detection
from slan_jax.evaluation.evaluator import Batching
from slan_jax.input.prompt import Prompts

IMAGES, REGIONS, CLASSES, TOKENS = 5, 3, 5, 4
RNG = np.random.default_rng(0)
SCORES = RNG.permutation(IMAGES * REGIONS * CLASSES).astype(np.float32)
SCORES = SCORES.reshape(IMAGES, REGIONS, CLASSES) / SCORES.size
SCORES[2, :, 1] = -1  # suppressed
BOXES = RNG.uniform(size=(IMAGES, REGIONS, 4)).astype(np.float32)
PROMPTS = Prompts(  # 0 and 3, then 1 and 4, then 2 alone
  names=tuple("abcde"),
  texts=("", "", ""),
  ids=np.array([[0] * TOKENS, [1] * TOKENS, [2] * TOKENS], np.int32),
  mask=np.ones((3, TOKENS), bool),
  class_tokens=np.zeros((3, 2, TOKENS), bool),
  classes=np.array([[0, 3], [1, 4], [2, -1]], np.int32),
)


def encode_image(params, images):
  return images[:, 0]


def encode_text(params, ids, mask):
  return ids[0, 0]


def detect(params, images, text, class_tokens):
  """Looks the stored answer of image and prompt up."""
  del class_tokens
  classes = jnp.maximum(jnp.asarray(PROMPTS.classes)[text], 0)
  return {
    "boxes": jnp.asarray(BOXES)[images] + params,
    "scores": jnp.asarray(SCORES)[images][..., classes],
  }


PREDICT = {
  "encode_image": encode_image,
  "encode_text": encode_text,
  "detect": detect,
}


def run(most, size, params=0.0, put=None):
  return detection.detect_objects(
    PREDICT,
    jnp.float32(params),
    np.arange(IMAGES)[:, None],
    IMAGES,
    PROMPTS,
    most=most,
    batching=Batching(size, 1, put=put, progress=False),
  )


@pytest.mark.parametrize("most, size", [(4, 2), (15, 5), (20, 4)])
def test_the_best_of_all_prompts_are_kept(most, size):
  found = run(most, size)
  assert found.boxes.shape == (IMAGES, most, 4)
  for image in range(IMAGES):
    flat = SCORES[image].ravel()
    order = [cell for cell in np.argsort(-flat) if flat[cell] >= 0][:most]
    count = len(order)
    assert (found.labels[image, count:] == -1).all()
    assert count == min(most, 15 - 3 * (image == 2))
    np.testing.assert_array_equal(found.scores[image, :count], flat[order])
    regions, labels = np.divmod(order, CLASSES)
    np.testing.assert_array_equal(found.labels[image, :count], labels)
    np.testing.assert_array_equal(
      found.boxes[image, :count], BOXES[image, regions]
    )


def test_scores_that_are_not_finite_are_refused():
  with pytest.raises(ValueError, match=r"boxes hold values.*not finite"):
    run(4, 2, params=np.nan)
  with pytest.raises(ValueError, match="no image"):
    detection.detect_objects(
      PREDICT, 0, [], 0, PROMPTS, most=1, batching=Batching(1, 1)
    )


def test_chance_keeps_the_boxes_and_shuffles_the_rest():
  found = run(13, 5)
  guess = detection.shuffled(found, seed=0)
  np.testing.assert_array_equal(guess.boxes, found.boxes)
  np.testing.assert_array_equal(guess.labels < 0, found.labels < 0)
  assert (guess.scores != found.scores)[guess.labels >= 0].all()
  assert {*guess.labels.ravel()} == {*found.labels.ravel()}
  again = detection.shuffled(found, seed=0)
  np.testing.assert_array_equal(guess.labels, again.labels)


def test_any_mesh_gives_the_same_detections(put):
  jax.tree.map(np.testing.assert_array_equal, run(15, 4), run(15, 4, put=put))
