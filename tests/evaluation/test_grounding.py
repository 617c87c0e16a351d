"""Driving a ground function: padding, truncation, missing boxes, clipping."""

import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation import evaluator, grounding, snapshot
from slan_jax.evaluation.phrase_recall import Truth

QUADRANTS = np.array(
  [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5],
   [0.75, 0.75, 0.5, 0.5]], np.float32,
)  # fmt: skip
CORNERS = np.array(
  [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]
)


def encode_image(params, images):
  return images


def ground(params, images, tokens, mask):
  """Token n likes quadrant `tokens[n] + level`; the last region is dropped."""
  count, length = tokens.shape
  like = jnp.stack([
    jnp.equal((tokens[:, None] + level) % 4, jnp.arange(4)[None, :, None])
    for level in (1, 0)
  ], axis=1)  # fmt: skip
  return {
    "boxes": jnp.broadcast_to(jnp.asarray(QUADRANTS), (count, 2, 4, 4)),
    "region_mask": jnp.broadcast_to(jnp.arange(4) < 3, (count, 4)),
    "scores": like.astype(jnp.float32),
    "token_weight": jnp.where(mask, 1.0, 0.0),
    "map": like[:, 1].reshape(count, 2, 2, length).astype(jnp.float32),
  }


def truth(quadrant):
  return Truth(CORNERS[quadrant : quadrant + 1], "small", 1)


def examples():
  tokens = np.array([[0, 1], [2, 3], [1, 0]], np.int32)
  spans = np.zeros((3, 2, 2), bool)
  spans[:, [0, 1], [0, 1]] = True
  spans[2, 1] = False  # truncated away
  no_box = Truth(np.zeros((0, 4)), "", 0)
  truths = [
    [truth(0), truth(1)],
    [truth(2), truth(3)],  # quadrant 3 is never kept
    [no_box, truth(0)],
  ]
  return grounding.Examples(
    np.zeros((2, 2, 2, 3), np.uint8), np.array([0, 1, 0]), tokens,
    np.ones((3, 2), bool), spans, truths,
  )  # fmt: skip


def run(size, put=None):
  batching = evaluator.Batching(size, 1, put=put, progress=False)
  return grounding.evaluate_grounding(
    {"encode_image": encode_image, "ground": ground},
    {},
    examples(),
    batching=batching,
  )


def test_scores_by_hand():
  report = run(2)
  metrics = report["metrics"]
  assert report["samples"] == {
    "captions": 3,
    "phrases": 5,
    "phrases_without_box": 1,
    "phrases_truncated": 1,
  }
  # Right: 0, 1, 2. Wrong: 3 (not kept) and the truncated one (all tie).
  assert metrics["grounding_r1"] == metrics["pointing"] == 60
  assert metrics["grounding_r1_level1"] == 60
  assert metrics["grounding_r1_level0"] == 0
  assert metrics["grounding_upper"] == metrics["grounding_r5"] == 80
  assert metrics["grounding_r1_random"] == pytest.approx(80 / 3)
  assert report["chance"]["grounding_r1"] == pytest.approx(80 / 3)
  assert metrics["map_r1"] == 80 and metrics["map_pointing"] == 80
  assert metrics["grounding_r1_objects1"] == 60


@pytest.mark.parametrize("size", [1, 3, 8])
def test_batch_size_changes_nothing(size):
  assert run(size)["metrics"] == run(2)["metrics"]


@pytest.mark.parametrize("size", [3, 4])  # whole on each device, and split
def test_any_mesh_grounds_alike(size, put):
  assert run(size, put) == run(2)


def test_boxes_are_clipped_to_the_image():
  boxes = grounding.to_xyxy(np.array([0.0, 0.5, 0.5, 2.0]))
  np.testing.assert_allclose(boxes, [0, 0, 0.25, 1])


def test_snapshot_holds_what_pictures_need(tmp_path):
  def proposing(params, images, tokens, mask):
    boxes = jnp.broadcast_to(jnp.asarray(QUADRANTS), (len(images), 4, 4))
    found = ground(params, images, tokens, mask)
    return found | {"proposals": boxes, "proposal_score": boxes[..., 0]}

  for function, proposals in ((ground, 0), (proposing, 4)):
    arrays = grounding.take_snapshot(
      {"encode_image": encode_image, "ground": function}, {}, examples(),
      captions=["a b", "c d", "b a"], phrases=[["a", "b"], ["c", "d"], ["b"]],
      step=5,
      batching=evaluator.Batching(2, 1, progress=False),
    )  # fmt: skip
    snapshot.save_snapshot(tmp_path, arrays)
    assert arrays["proposals"].shape == (3, proposals, 4)
  np.testing.assert_array_equal(
    arrays["phrase_scores"][1, :, 1].argmax(-1), [2, 3]
  )
  np.testing.assert_allclose(arrays["truth"][0, 0], CORNERS[0])
  assert np.isnan(arrays["truth"][2, 0]).all() and arrays["phrase"][2, 1] == ""
