from collections import Counter

import numpy as np
import pytest

from data.scene import DEFAULT, Item
from data.scene_statements import KINDS, PAIRS, Statement, sample_statements


def item(colour, shape):
  return Item("small", colour, "plain", shape, 0.5, 0.5, 0.2, 0.0)


RED_RING = {"colour": "red", "shape": "ring"}
BLUE_STAR = {"colour": "blue", "shape": "star"}
# By hand: two rings to the left, a ring and a star to the right.
PAIR = (
  [item("red", "ring"), item("green", "ring")],
  [item("red", "ring"), item("blue", "star")],
)


@pytest.mark.parametrize(
  "kind,words,side,count,text,true",
  [
    ("side", [RED_RING], 0, 2, "the left picture shows a red ring", True),
    ("side", [BLUE_STAR], 0, 2, "the left picture shows a blue star", False),
    ("side", [BLUE_STAR], 1, 2, "the right picture shows a blue star", True),
    ("each", [RED_RING], 0, 2, "each picture shows a red ring", True),
    ("each", [BLUE_STAR], 0, 2, "each picture shows a blue star", False),
    ("more", [RED_RING], 0, 2, "the left picture shows more rings", True),
    ("more", [RED_RING], 1, 2, "the right picture shows more rings", False),
    ("more", [BLUE_STAR], 1, 2, "the right picture shows more stars", True),
    ("count", [RED_RING], 0, 3, "there are three rings in the two pictures", 1),
    ("count", [RED_RING], 0, 2, "there are two rings in the two pictures", 0),
  ],
)
def test_truth_by_hand(kind, words, side, count, text, true):
  statement = Statement(kind, tuple(words), side, count)
  assert statement.text == text
  assert statement.holds(PAIR) == bool(true)


def test_both_names_the_left_picture_first():
  statement = Statement("both", (RED_RING, BLUE_STAR), 0, 2)
  assert statement.text == (
    "the left picture shows a red ring and the right picture shows a blue star"
  )
  assert statement.holds(PAIR) and not statement.holds(PAIR[::-1])


@pytest.fixture(scope="module")
def blocks():
  return [
    sample_statements(np.random.default_rng([0, number]), DEFAULT)
    for number in range(120)
  ]


def test_each_statement_and_each_pair_are_true_as_often_as_false(blocks):
  for statements, pairs in blocks:
    truth = np.array([[s.holds(pair) for pair in pairs] for s in statements])
    assert truth.shape == (2, PAIRS)
    assert (truth.sum(0) == 1).all() and (truth.sum(1) == 2).all()
    assert statements[0].text != statements[1].text


def test_statements_of_a_block_differ_in_one_word(blocks):
  for (first, second), _ in blocks:
    apart = [
      (a, b)
      for a, b in zip(first.text.split(), second.text.split())
      if a != b and {a, b} != {"a", "an"}
    ]
    assert len(apart) == 1


def test_all_kinds_are_told(blocks):
  kinds = Counter(statements[0].kind for statements, _ in blocks)
  assert set(kinds) == {*KINDS} and min(kinds.values()) > 10


def test_no_picture_holds_two_equal_objects(blocks):
  for _, pairs in blocks:
    for items in (items for pair in pairs for items in pair):
      assert len({thing.attributes for thing in items}) == len(items) <= 4
