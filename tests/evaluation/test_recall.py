"""Retrieval metrics: hand-computed cases, ties, several texts, re-ranking."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slan_jax.evaluation import recall


def test_best_ranks_by_hand():
  scores = np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.3], [0.7, 0.6, 0.4]])
  ranks = recall.best_ranks(scores, np.eye(3, dtype=bool))
  np.testing.assert_array_equal(ranks, [0, 0, 2])
  assert recall.recall(ranks, 1) == pytest.approx(200 / 3)
  assert recall.recall(ranks, 3) == 100


def test_tie_counts_against_us():
  eye = np.eye(4, dtype=bool)
  np.testing.assert_array_equal(
    recall.best_ranks(np.zeros((4, 4)), eye), [3, 3, 3, 3]
  )
  scores = np.array([[1.0, 1.0, 0.0, 0.0]])
  np.testing.assert_array_equal(recall.best_ranks(scores, eye[:1]), [1])
  # Two right answers that tie with each other do not harm each other.
  both = np.array([[True, True, False, False]])
  np.testing.assert_array_equal(recall.best_ranks(scores, both), [0])


def test_metrics_with_several_texts_per_image():
  text_image = np.array([0, 0, 1])
  scores = np.array([[0.1, 0.7, 0.6], [0.8, 0.2, 0.3]])
  metrics = recall.retrieval_metrics(scores, scores.T, text_image)
  # Image 0: its second text leads. Image 1: text 0 leads, its own is second.
  assert metrics["i2t_r1"] == 50
  # Texts 0 and 2 prefer the wrong image, text 1 the right one.
  assert metrics["t2i_r1"] == pytest.approx(100 / 3)
  assert metrics["t2i_r5"] == metrics["i2t_r10"] == 100  # k beyond the gallery
  expected = (50 + 100 + 100 + 100 / 3 + 100 + 100) / 6
  assert metrics["r_mean"] == pytest.approx(expected)
  assert metrics["mdr"] == 2 and metrics["i2t_mdr"] == 1.5


@given(st.integers(0, 10**6))
def test_rank_is_the_worst_over_all_orders_of_ties(seed):
  generator = np.random.default_rng(seed)
  scores = generator.integers(0, 3, (1, 5)).astype(float)
  relevant = np.zeros((1, 5), bool)
  relevant[0, generator.choice(5, generator.integers(1, 4), False)] = True
  worst = 0
  for order in itertools.permutations(range(5)):
    ordered = sorted(order, key=lambda j: -scores[0, j])
    worst = max(worst, [relevant[0, j] for j in ordered].index(True))
  assert recall.best_ranks(scores, relevant)[0] == worst


def test_top_candidates_breaks_ties_by_position_and_clips_k():
  scores = np.array([[0.0, 2.0, 1.0, 1.0]])
  np.testing.assert_array_equal(
    recall.top_candidates(scores, 2), [[False, True, True, False]]
  )
  assert recall.top_candidates(scores, 9).all()
  with pytest.raises(ValueError, match="top_k"):
    recall.top_candidates(scores, 0)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_rerank_equals_brute_force(seed, k):
  generator = np.random.default_rng(seed)
  first = generator.integers(0, 5, (3, 6)).astype(float)
  second = generator.normal(size=(3, 6)) * 1e6
  scored = recall.top_candidates(first, k)
  joint = recall.rerank(first, second, scored)
  for query in range(3):

    def key(j, query=query):
      stage = second if scored[query, j] else first
      return (scored[query, j], stage[query, j])

    for a, b in itertools.combinations(range(6), 2):
      assert (joint[query, a] > joint[query, b]) == (key(a) > key(b))
      assert (joint[query, a] == joint[query, b]) == (key(a) == key(b))


def test_unscored_right_answer_ranks_after_every_scored_one():
  first = np.array([[3.0, 2.0, 1.0, 0.0]])
  second = np.array([[-9.0, -8.0, 99.0, 99.0]])
  joint = recall.rerank(first, second, recall.top_candidates(first, 2))
  right = np.array([[False, False, False, True]])
  np.testing.assert_array_equal(np.argsort(-joint[0]), [1, 0, 2, 3])
  assert recall.best_ranks(joint, right)[0] == 3


def test_standardize():
  scores = np.array([1.0, 3.0, 100.0])
  where = np.array([True, True, False])
  np.testing.assert_allclose(recall.standardize(scores, where), [-1, 1, 98])
  np.testing.assert_array_equal(recall.standardize(np.full(3, 7.0)), 0)


def test_bad_input_is_named():
  with pytest.raises(ValueError, match=r"not finite.*query 1, candidate 0"):
    recall.checked_scores(np.array([[0.0], [np.nan]]), "itc")
  with pytest.raises(ValueError, match="gallery empty"):
    recall.checked_scores(np.zeros((2, 0)), "itc")
  with pytest.raises(ValueError, match="empty gallery"):
    recall.relevance(np.array([], int), 0)
  with pytest.raises(ValueError, match="no text, the first at row 1"):
    recall.relevance(np.array([0, 2]), 3)
  with pytest.raises(ValueError, match=r"0\.\.1"):
    recall.relevance(np.array([0, 2]), 2)
  with pytest.raises(ValueError, match="right candidate"):
    recall.best_ranks(np.zeros((1, 2)), np.zeros((1, 2), bool))
