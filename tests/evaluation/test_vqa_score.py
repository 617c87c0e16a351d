import random
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

from slan_jax.evaluation import vqa_score
from slan_jax.evaluation.answer_words import normal_answer


class Asked(NamedTuple):
  id: str
  kind: str
  answers: dict[str, int]


@pytest.mark.parametrize(
  "written,normal",
  [
    # What the official script makes of these.
    ("The Dog", "dog"),
    ("two", "2"),
    ("None", "0"),
    ("dont know", "don't know"),
    ("youd've", "you'd've"),
    ("couldntve", "couldntve"),  # lacks two apostrophes
    ("What's", "what's"),
    ("somebody'd", "somebodyd"),
    ("1,000", "1000"),
    ("1,000 a/b", "1000 ab"),
    ("a/b", "b"),
    ("red, blue", "red blue"),
    ("t-shirt", "t shirt"),
    ("yes.", "yes"),
    ("no!?", "no"),
    ("1.5", "1.5"),
    ("3. 5", "3 5"),
    ("U.S.A.", "usa"),
    ("it's (red)", "it's red"),
    ('"no"', "no"),
    ("@home", "home"),
    ("a", ""),
    ("." * 40, "." * 8),
  ],
)
def test_normalisation_is_the_official_one(written, normal):
  assert normal_answer(written) == normal


def literal_score(answer: str, people: list[str]) -> float:
  """The rule in its own words: leave each of the people out in turn."""
  if len(set(people)) > 1:
    people = [normal_answer(text) for text in people]
    answer = normal_answer(answer)
  subsets = [people[:k] + people[k + 1 :] for k in range(len(people))]
  scores = [min(1, sum(a == answer for a in rest) / 3) for rest in subsets]
  return sum(scores) / len(scores)


def test_scores_agree_with_leaving_out_each_of_the_people():
  rng = random.Random(0)
  words = ["Red", "red", "the red", "two", "2", "dont", "don't", "a,b", "no."]
  seen = set()
  for _ in range(400):
    pool = [rng.choice(words) for _ in range(rng.randint(1, 4))]
    people = [rng.choice(pool) for _ in range(10)]
    answer = rng.choice(words)
    score = vqa_score.answer_score(answer, Counter(people))
    assert score == pytest.approx(literal_score(answer, people), abs=1e-12)
    seen.add(round(score, 6))
  assert len(seen) > 4


@pytest.mark.parametrize(
  "matches,score",
  [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)],
)
def test_scores_by_hand(matches, score):
  given = {"red": matches, "blue": 10 - matches}
  assert vqa_score.answer_score("Red.", given) == pytest.approx(score)


def test_nothing_is_normalised_where_all_agree():
  assert vqa_score.answer_score("The dog", {"dog": 10}) == 0
  assert vqa_score.answer_score(" dog\n", {"dog": 10}) == 1
  assert vqa_score.answer_score("The dog", {"dog": 9, "cat": 1}) == 1
  # Answers that differ in outer spaces alone are one.
  assert vqa_score.answer_score("The dog", {"dog": 5, "dog ": 5}) == 0


ASKED = [
  Asked("1", "yes/no", {"yes": 10}),
  Asked("2", "yes/no", {"no": 7, "yes": 3}),
  Asked("3", "number", {"2": 6, "two": 4}),
  Asked("4", "", {"red": 2, "pink": 8}),
]
ANSWERS = {"1": "yes", "2": "yes", "3": "two", "4": "blue"}


def test_means_by_kind():
  scores = vqa_score.question_scores(ASKED, ANSWERS)
  np.testing.assert_allclose(scores, [1, 0.9, 1, 0])
  assert vqa_score.vqa_metrics(ASKED, scores) == {
    "vqa_accuracy": pytest.approx(72.5),
    "vqa_accuracy_yes_no": pytest.approx(95),
    "vqa_accuracy_number": pytest.approx(100),
  }


def test_chance_is_the_best_single_answer_of_a_kind():
  # "yes" scores 1 + 0.9; "2" 1; of no kind, "pink" 1.
  assert vqa_score.chance_metrics(ASKED) == {
    "vqa_accuracy": pytest.approx(97.5),
    "vqa_accuracy_yes_no": pytest.approx(95),
    "vqa_accuracy_number": pytest.approx(100),
  }
  even = [Asked(str(n), "colour", {c: 10}) for n, c in enumerate("abcd")]
  assert vqa_score.chance_metrics(even)["vqa_accuracy"] == 25


@pytest.mark.parametrize(
  "questions,answers,message",
  [
    ([], {}, "no question to score"),
    (ASKED, {**ANSWERS, "9": "x"}, "1 answers to questions that are not.*: 9"),
    (ASKED, {"1": "yes"}, "3 questions without an answer: 2, 3, 4"),
    ([Asked("5", "", {})], {"5": "x"}, "known to the server alone"),
  ],
)
def test_bad_input_is_named(questions, answers, message):
  with pytest.raises(ValueError, match=message):
    vqa_score.question_scores(questions, answers)
