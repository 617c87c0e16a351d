"""Grounding metrics: hand-computed cases, ties, groups, protocols."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slan_jax.evaluation import phrase_recall
from slan_jax.evaluation.phrase_recall import Truth

TRUTH = np.array([[0.0, 0.0, 0.4, 0.4]])
HIT = [0.0, 0.0, 0.4, 0.4]
LOOSE = [0.0, 0.0, 0.4, 0.16]  # IoU 0.4 with the truth, centre inside
MISS = [0.6, 0.6, 1.0, 1.0]


def score(rows, scores, truth=TRUTH):
  return phrase_recall.score_regions(
    np.array([rows]), np.array([scores], float), truth
  )


def test_best_region_decides_r1_and_pointing():
  result = score([MISS, LOOSE, HIT], [0.5, 0.9, 0.7])
  assert result["grounding_r1"] == 0
  assert result["grounding_r1_iou30"] == 1
  assert result["grounding_r5"] == result["grounding_r10"] == 1
  assert result["pointing"] == 1
  assert result["mean_iou"] == pytest.approx(0.4)
  assert result["grounding_upper"] == result["pointing_upper"] == 1
  assert result["mean_iou_upper"] == 1
  worse = score([MISS, LOOSE], [0.5, 0.9])
  assert worse["grounding_upper"] == 0 and worse["grounding_upper_iou30"] == 1
  assert worse["mean_iou_upper"] == pytest.approx(0.4)


def test_random_kept_region_in_closed_form():
  result = score([MISS, LOOSE, HIT], [0.5, 0.9, 0.7])
  assert result["grounding_r1_random"] == pytest.approx(1 / 3)
  assert result["grounding_r5_random"] == 1
  assert result["grounding_r1_iou30_random"] == pytest.approx(2 / 3)
  assert result["pointing_random"] == pytest.approx(2 / 3)
  assert result["mean_iou_random"] == pytest.approx((0 + 0.4 + 1) / 3)
  many = score([HIT] * 2 + [MISS] * 8, list(range(10)))
  # 5 of 10 drawn, 2 right: all wrong with probability C(8,5) / C(10,5).
  assert many["grounding_r5_random"] == pytest.approx(1 - 56 / 252)
  assert many["grounding_r1"] == many["grounding_r5"] == 0


def test_ties_count_against_us():
  result = score([HIT, MISS], [1.0, 1.0])
  assert result["grounding_r1"] == result["pointing"] == 0
  assert result["mean_iou"] == 0
  assert result["grounding_r5"] == 1


def test_nothing_hits_or_nothing_is_kept():
  result = score([MISS], [1.0])
  assert result["grounding_r10"] == result["grounding_upper"] == 0
  empty = phrase_recall.score_regions(
    np.zeros((2, 0, 4)), np.zeros((2, 0)), np.array([[0.0, 0, 1, 1]])
  )
  assert set(empty.values()) == {0.0}


def test_levels_are_reported_apart():
  boxes = np.array([[MISS, LOOSE], [HIT, HIT]])
  result = phrase_recall.score_regions(
    boxes, np.array([[0.9, 0.1], [0.9, 0.1]]), TRUTH
  )
  assert result["grounding_r1_level0"] == result["pointing_level0"] == 0
  assert result["grounding_r1_iou30_level0"] == result["mean_iou_level0"] == 0
  assert result["grounding_upper_level0"] == 0
  assert result["grounding_upper_iou30_level0"] == 1
  for name in ("grounding_r1", "grounding_r1_iou30", "pointing", "mean_iou"):
    assert result[f"{name}_level1"] == result[name] == 1


def test_any_box_and_merged_protocols_differ():
  truth = np.array([[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 1.0, 1.0]])
  one, whole = [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 1.0, 1.0]
  result = score([one, whole], [0.9, 0.8], truth)
  assert result["grounding_r1"] == 1  # any of the true boxes
  assert result["grounding_merged_r1"] == 0  # not the box around both
  assert result["grounding_merged_r5"] == 1


def test_phrase_mean_weights_its_own_tokens():
  values = np.array([[1.0, 2.0, 4.0, 100.0]])
  tokens = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
  weight = np.array([3.0, 1.0, 0.0, 1.0])
  mean = phrase_recall.phrase_mean(values, tokens, weight)
  np.testing.assert_allclose(mean[:, 0], [(3 + 2) / 4, 2, 0])
  plain = phrase_recall.phrase_mean(values, tokens, np.zeros(4))
  np.testing.assert_allclose(plain[:, 0], [1.5, 3, 0])


@given(st.integers(0, 10**6))
def test_ranks_equal_a_stable_sort_with_wrong_ones_first(seed):
  generator = np.random.default_rng(seed)
  scores = generator.integers(0, 4, 6).astype(float)
  hits = generator.random(6) < 0.4
  order = sorted(range(6), key=lambda j: (-scores[j], hits[j]))
  found = [rank for rank, j in enumerate(order) if hits[j]]
  expected = found[0] if found else 6
  assert phrase_recall.hit_ranks(scores, hits) == expected


def test_groups_and_means_in_percent():
  boxes = np.array([[HIT, MISS]])
  phrases = [
    phrase_recall.score_phrase(
      boxes, np.array([scores]), None, Truth(TRUTH, size, objects)
    )
    for scores, size, objects in [
      ([0.9, 0.1], "small", 2), ([0.1, 0.9], "large", 2), ([0.9, 0.1], "", 0),
    ]
  ]  # fmt: skip
  metrics = phrase_recall.grounding_metrics(phrases)
  assert metrics["grounding_r1"] == pytest.approx(200 / 3)
  assert metrics["grounding_r1_small"] == 100
  assert metrics["grounding_r1_large"] == 0
  assert metrics["grounding_r1_objects2"] == 50
  assert metrics["mean_iou_small"] == metrics["pointing_small"] == 100
  assert metrics["grounding_r1_iou30_large"] == metrics["pointing_large"] == 0
  assert metrics["grounding_upper_large"] == 100
  chance = phrase_recall.chance_of(metrics)
  assert chance["grounding_r1_small"] == chance["pointing_objects2"] == 50
  assert chance["mean_iou"] == 50 and "grounding_upper" not in chance
  assert "map_r1" not in metrics


def test_phrases_are_scored_by_what_they_name():
  boxes = np.array([[HIT, MISS]])
  phrases = [
    phrase_recall.score_phrase(
      boxes, np.array([scores]), None, Truth(TRUTH, "", 0, kinds)
    )
    for scores, kinds in [
      ([0.9, 0.1], ("people",)),
      ([0.1, 0.9], ("people", "bodyparts")),
      ([0.9, 0.1], ()),
    ]
  ]
  metrics = phrase_recall.grounding_metrics(phrases)
  assert metrics["grounding_r1_people"] == 50
  assert metrics["grounding_r1_bodyparts"] == 0
  assert metrics["grounding_r5_bodyparts"] == 100
  assert metrics["grounding_merged_r1_people"] == 50
  assert metrics["grounding_r1"] == pytest.approx(200 / 3)
  assert phrase_recall.chance_of(metrics)["grounding_r1_people"] == 50


def test_bad_input_is_named():
  with pytest.raises(ValueError, match="scores hold values"):
    phrase_recall.score_phrase(
      np.zeros((1, 1, 4)), np.full((1, 1), np.nan), None, Truth(TRUTH, "", 0)
    )
  with pytest.raises(ValueError, match="no phrase"):
    phrase_recall.grounding_metrics([])
