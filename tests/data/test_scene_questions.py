import random
from collections import Counter

import pytest

from data.scene import DEFAULT, Item
from data.scene_questions import KINDS, PEOPLE, Question, ask, votes
from data.scene_record import draft


def item(size, colour, texture, shape, x=0.5, y=0.5):
  return Item(size, colour, texture, shape, x, y, 0.2, 0.0)


# By hand: two small rings, red above blue, and a large dotted red star beside.
SCENE = [
  item("small", "red", "plain", "ring", x=0.2, y=0.2),
  item("small", "blue", "plain", "ring", x=0.2, y=0.8),
  item("large", "red", "dotted", "star", x=0.8, y=0.2),
]
TRUE = {
  "colour": {
    # Colour alone tells the rings apart: only the star can be asked about.
    "what colour is the star?",
    "what colour is the large star?",
    "what colour is the dotted star?",
    "what colour is the large dotted star?",
  },
  "size": {
    "what size is the red ring?",
    "what size is the blue ring?",
    "what size is the star?",
    "what size is the red star?",
    "what size is the dotted star?",
    "what size is the red dotted star?",
  },
}
COUNTS = {
  "how many rings are there?": "2",
  "how many stars are there?": "1",
  "how many crosses are there?": "0",
  "how many red ones are there?": "2",
  "how many blue ones are there?": "1",
  "how many green ones are there?": "0",
}  # no size: three of one size, or none, are not offered
RELATIONS = {
  "is the red ring above the blue ring?": "yes",
  "is the red ring below the blue ring?": "no",
  "is the star right of the red ring?": "yes",
  "is the star to the left of the red ring?": "no",
}
EXIST = {
  "is there a red ring?": "yes",
  "is there a small star?": "no",
  "is there a large red star?": "yes",
  "is there a blue star?": "no",
}


@pytest.fixture(scope="module")
def asked():
  """Questions about copies of the scene, asked over and over."""
  rng = random.Random(0)
  rows = [row for _ in range(150) for row in ask(rng, [SCENE] * 12)]
  return {question for row in rows for question in row}


@pytest.fixture(scope="module")
def many():
  """Questions about a thousand drawn scenes."""
  scenes = [draft(DEFAULT, 0, "train", n)[0] for n in range(1_000)]
  return ask(random.Random(1), scenes)


def test_answers_are_true(asked):
  answers = {question.text: question.answer for question in asked}
  assert len(answers) == len(asked)  # never two answers to one question
  assert TRUE["colour"] == {q.text for q in asked if q.kind == "colour"}
  assert {q.answer for q in asked if q.kind == "colour"} == {"red"}
  assert TRUE["size"] == {q.text for q in asked if q.kind == "size"}
  assert answers["what size is the blue ring?"] == "small"
  assert answers["what size is the star?"] == "large"
  assert answers["what shape is the blue one?"] == "ring"
  assert answers["what shape is the large red one?"] == "star"
  assert "what shape is the red one?" not in answers  # a ring and a star
  for text, answer in (COUNTS | RELATIONS | EXIST).items():
    assert answers.get(text, answer) == answer, text
  assert len(answers.keys() & (RELATIONS | EXIST).keys()) == 8
  assert answers.keys() >= COUNTS.keys()


def test_a_scene_is_asked_each_kind_at_most_once(many):
  for questions in many:
    kinds = [question.kind for question in questions]
    assert len(set(kinds)) == len(kinds) and {*kinds} <= {*KINDS}
  assert sum(map(len, many)) > 5 * len(many)


@pytest.mark.parametrize(
  "kind,answers,most",
  [
    ("colour", 8, 0.125),
    ("shape", 6, 1 / 6),
    ("size", 2, 0.5),
    ("count", 4, 0.32),
    ("exists", 2, 0.5),
    ("relation", 2, 0.5),
  ],
)
def test_no_answer_is_likelier_than_chance(many, kind, answers, most):
  told = Counter(q.answer for row in many for q in row if q.kind == kind)
  assert len(told) == answers and told.total() > 650
  assert max(told.values()) / told.total() < most + 0.04


def test_no_word_of_a_question_gives_a_yes_away(many):
  by_word: dict[str, Counter] = {}
  for question in (q for row in many for q in row):
    if question.kind in ("exists", "relation"):
      for word in set(question.text.rstrip("?").split()):
        key = f"{question.kind} {word}"
        by_word.setdefault(key, Counter())[question.answer] += 1
  common = [c for c in by_word.values() if c.total() > 150]
  assert len(common) > 20
  assert all(0.38 < c["yes"] / c.total() < 0.62 for c in common)


def test_counts_are_asked_for_alike(many):
  for word, allowed in (("shape", "012"), ("colour", "012"), ("size", "0123")):
    ones = {"shape": (), "colour": ("red", "blue"), "size": ("small", "large")}
    told = Counter(
      q.answer
      for row in many
      for q in row
      if q.kind == "count"
      and (any(w in q.text for w in ones[word]) or "ones" not in q.text)
      and ("ones" in q.text) == (word != "shape")
    )
    assert set(told) == {*allowed}, word
    even = told.total() / len(allowed)
    assert all(abs(count - even) < 0.35 * even for count in told.values())


def test_ten_people_mostly_agree():
  rng, shares = random.Random(0), []
  for kind, answer, others in (
    ("colour", "red", {"pink", "orange"}),
    ("count", "0", {"1"}),
    ("count", "2", {"1", "3"}),
    ("exists", "no", {"yes"}),
    ("size", "large", {"small"}),
  ):
    wrong = Counter()
    for _ in range(300):
      given = votes(rng, Question(kind, "", answer))
      assert sum(given.values()) == PEOPLE and given[answer] >= 7
      shares.append(given.pop(answer))
      wrong.update(given)
    assert set(wrong) == others
  assert 9.0 < sum(shares) / len(shares) < 9.4


def test_questions_depend_on_the_seed_alone():
  scenes = [draft(DEFAULT, 0, "val", n)[0] for n in range(20)]
  first = ask(random.Random("a"), scenes)
  assert first == ask(random.Random("a"), scenes)
  assert first != ask(random.Random("b"), scenes)
