"""Counterfactual pairs: hand-computed scores of regions that move or stay."""

import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation import counterfactual, evaluator, grounding
from slan_jax.evaluation.counterfactual import Pairs
from slan_jax.evaluation.phrase_recall import Truth

LEFT, RIGHT = [0.0, 0.0, 0.4, 1.0], [0.6, 0.0, 1.0, 1.0]
CENTRES = np.array([[0.2, 0.5, 0.4, 1.0], [0.8, 0.5, 0.4, 1.0]], np.float32)
# Token 1 means the left object, 2 the right one; 3 always draws the left
# region, 4 likes both regions alike. 0 is the same word in every caption.
LIKES = np.array([[0, 0], [1, 0], [0, 1], [1, 0], [1, 1]], np.float32)


def ground(params, images, tokens, mask):
  """The last level follows LIKES, level 0 its opposite."""
  count = len(tokens)
  like = jnp.moveaxis(jnp.asarray(LIKES)[tokens], 1, 2)  # [B, R, N]
  return {
    "boxes": jnp.broadcast_to(jnp.asarray(CENTRES), (count, 2, 2, 4)),
    "region_mask": jnp.ones((count, 2), bool),
    "scores": jnp.stack([-like, like], axis=1),
    "token_weight": jnp.where(mask, 1.0, 0.0),
    "map": jnp.repeat(like[:, None], 2, axis=1),
  }


def pairs(words, kinds):
  """One pair per two words; the first caption means the left object."""
  tokens = np.array([[0, word] for pair in words for word in pair], np.int32)
  spans = np.zeros((len(tokens), 1, 2), bool)
  spans[:, 0, 1] = True
  truths = [
    [Truth(np.array([box]), "large", 2)] for _ in words for box in (LEFT, RIGHT)
  ]
  images = np.zeros((len(words), 2, 2, 3), np.uint8)
  image = np.arange(len(tokens)) // 2
  mask = np.ones_like(tokens, bool)
  found = grounding.Examples(images, image, tokens, mask, spans, truths)
  return Pairs(found, kinds)


def run(size=3):
  made = pairs(
    [(1, 2), (1, 2), (1, 3), (4, 2), (3, 3)],
    ["colour", "size", "size", "colour", "relation"],
  )
  return counterfactual.evaluate_counterfactuals(
    {"encode_image": lambda params, images: images, "ground": ground},
    {},
    made,
    batching=evaluator.Batching(size, 1, progress=False),
  )


def test_shares_by_hand():
  report = run()
  metrics = report["metrics"]
  # Pairs: both, both, first only, second only (a tie is wrong), first only.
  assert metrics["counterfactual"] == 40
  assert metrics["counterfactual_single"] == 70
  assert metrics["counterfactual_moved"] == pytest.approx(100 * 4 / 7)
  assert metrics["counterfactual_pointing"] == 40
  assert metrics["counterfactual_colour"] == 50
  assert metrics["counterfactual_moved_size"] == pytest.approx(100 * 2 / 3)
  assert metrics["counterfactual_relation"] == 0
  assert metrics["counterfactual_words"] == 50  # all but the last pair
  assert metrics["counterfactual_level1"] == 40
  assert metrics["counterfactual_level0"] == 0
  assert metrics["counterfactual_map"] == 40
  assert metrics["counterfactual_map_pointing"] == 40
  assert metrics["counterfactual_upper"] == 100


def test_chance_and_counts():
  report = run()
  # One of two regions for each caption, drawn apart.
  assert report["chance"]["counterfactual"] == 25
  assert report["chance"]["counterfactual_moved"] == 50
  assert report["chance"]["counterfactual_pointing_size"] == 25
  assert report["samples"] == {
    "counterfactual_pairs": 5,
    "counterfactual_pairs_colour": 2,
    "counterfactual_pairs_relation": 1,
    "counterfactual_pairs_size": 2,
  }
  assert set(report["chance"]) <= set(report["metrics"])


@pytest.mark.parametrize("size", [1, 4, 16])
def test_batch_size_changes_nothing(size):
  assert run(size) == run()


def one(boxes, own, other):
  """Scores a caption whose first region is the best."""
  boxes = np.array([boxes], float)
  count = boxes.shape[1]
  states = {
    "boxes": boxes,
    "region_mask": np.ones(count, bool),
    "scores": -np.arange(count, dtype=float)[None, :, None],
    "token_weight": np.ones(1),
  }
  found = counterfactual.score_caption(
    states, np.ones(1, bool), np.array(own), np.array(other)
  )
  return found[""], found["_pointing"]


def test_no_region_is_right_for_both():
  left, right = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
  whole = [0.0, 0.0, 1.0, 1.0]  # IoU 0.5 with each, its centre in both
  assert one([whole], left, right) == one([whole], right, left) == (0, 0)
  assert one([left], left, right) == one([right], right, left) == (1, 1)
  # An object before another one: its own box is right, whatever it hides.
  small, large = [0.4, 0.4, 0.6, 0.6], [0.0, 0.0, 0.9, 0.9]
  assert one([small], small, large) == one([large], large, small) == (1, 1)
  assert one([large], small, large)[0] == 0


def test_nothing_right_and_nothing_kept():
  assert one(np.zeros((0, 4)), [0.0, 0.0, 0.4, 0.4], RIGHT) == (0, 0)
  captions = [{"": 0.0, "_random": 0.0}] * 2
  metrics = counterfactual.counterfactual_metrics(captions, {})
  assert set(metrics.values()) == {0.0}
  assert metrics["counterfactual_moved"] == 0
