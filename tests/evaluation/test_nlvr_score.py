import numpy as np
import pytest

from slan_jax.evaluation import nlvr_score


def test_accuracy_and_consistency_by_hand():
  labels = np.array([1, 0, 1, 0, 1, 1])
  scores = np.array([2.0, -1.0, 0.1, -3.0, -0.5, 4.0])
  right = nlvr_score.right_answers(labels, scores)
  assert right.tolist() == [True, True, True, True, False, True]
  # Of three sentences, the last one has a pair wrong.
  metrics = nlvr_score.nlvr_metrics(right, ["a", "a", "b", "b", "c", "c"])
  assert metrics == {
    "accuracy": pytest.approx(500 / 6),
    "consistency": pytest.approx(200 / 3),
  }


def test_a_tie_counts_against_the_model():
  labels = np.array([1, 0, 1, 0])
  right = nlvr_score.right_answers(labels, np.zeros(4))
  assert nlvr_score.nlvr_metrics(right, "aabb") == {
    "accuracy": 0,
    "consistency": 0,
  }


def test_infinite_scores_are_plain_answers():
  right = nlvr_score.right_answers([1, 0], [np.inf, -np.inf])
  assert right.all()


def test_chance_of_a_coin():
  chance = nlvr_score.chance_metrics(["a"] * 4 + ["b"] * 2 + ["c"])
  assert chance["accuracy"] == 50
  assert chance["consistency"] == pytest.approx(
    100 * (1 / 16 + 1 / 4 + 1 / 2) / 3
  )


@pytest.mark.parametrize(
  "labels,scores,message",
  [
    ([], [], "at least one"),
    ([1, 0], [1.0], "as many"),
    ([1, 2], [1.0, 1.0], "must be 0 or 1"),
    ([1, 0], [1.0, np.nan], "1 of 2 scores are NaN, the first at row 1"),
  ],
)
def test_bad_input_is_named(labels, scores, message):
  with pytest.raises(ValueError, match=message):
    nlvr_score.right_answers(labels, scores)


def test_groups_that_are_too_few_are_refused():
  with pytest.raises(ValueError, match="2 statements, 1 groups"):
    nlvr_score.nlvr_metrics(np.array([True, True]), ["a"])
