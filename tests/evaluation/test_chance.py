"""Closed forms of chance against counting and simulation."""

import numpy as np
import pytest

from slan_jax.evaluation import chance, recall


def test_one_right_answer_is_k_over_gallery():
  right = np.ones(7, int)
  assert chance.chance_recall(right, 200, 1) == pytest.approx(0.5)
  assert chance.chance_recall(right, 200, 10) == pytest.approx(5)
  assert chance.chance_recall(right, 4, 10) == 100


def test_several_right_answers_by_counting():
  # 5 candidates, 2 right, 2 drawn: all wrong in C(3,2) of C(5,2) draws.
  assert chance.chance_recall(np.array([2]), 5, 2) == pytest.approx(70)
  mixed = chance.chance_recall(np.array([1, 2]), 5, 2)
  assert mixed == pytest.approx((40 + 70) / 2)
  assert chance.chance_recall(np.array([0]), 5, 5) == 0


@pytest.mark.parametrize("gallery", [4, 5])
def test_median_rank_of_a_uniform_rank(gallery):
  median = chance.chance_median_rank(np.ones(3, int), gallery)
  assert median == (gallery + 1) / 2


def test_metrics_agree_with_simulation():
  text_image = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 5, 6, 7])
  images, texts = 8, len(text_image)
  generator = np.random.default_rng(0)
  draws = [
    recall.retrieval_metrics(
      generator.normal(size=(images, texts)),
      generator.normal(size=(texts, images)),
      text_image,
    )
    for _ in range(2000)
  ]
  expected = chance.chance_metrics(text_image, images)
  assert set(expected) == set(draws[0])
  for name, value in expected.items():
    if name.endswith("mdr"):
      continue
    sample = np.array([draw[name] for draw in draws])
    error = sample.std() / np.sqrt(len(sample))
    assert abs(sample.mean() - value) <= 4 * error + 1e-9, name
  assert expected["mdr"] == 4.5
