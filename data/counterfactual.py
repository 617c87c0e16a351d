"""Counterfactual captions: a few words change, another object is meant.

For evaluation only, and made from what was drawn. Both captions of a pair are
true and name all objects but one of the two in question: the same phrase means
the one object in the first caption and the other one in the second.
"""

import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

from data.grammar import (
  DIRECTIONS,
  Caption,
  Phrase,
  direction,
  join_clauses,
)
from data.noun_phrases import ATTRIBUTES, describe, matches, noun_phrase
from data.scene import Item

RELATION = "relation"
KINDS = (*ATTRIBUTES, RELATION)
# Rare offers are taken up more readily, so that every kind is well counted.
_WEIGHTS = {"size": 4, "colour": 2, "texture": 12, "shape": 1, RELATION: 2}
# What the captions name of an object, but for its texture.
_FORMS = (("size", "colour", "shape"), ("size", "shape"), ("colour", "shape"))
_SIDES = {
  "x": (" on the left", " on the right"),
  "y": (" at the top", " at the bottom"),
}
_SIDE = 0.35  # of the image, from its edge


class Counterfactual(NamedTuple):
  """Two captions of one scene.

  Attributes:
    kind: What changes, one of KINDS.
    captions: Their texts.
    phrases: The phrase in question in each; it names one object.
  """

  kind: str
  captions: tuple[str, str]
  phrases: tuple[Phrase, Phrase]


class _Change(NamedTuple):
  """Clauses about the object in question, before and after.

  Each is the phrase, its object and the words after it; `anchor` is an object
  that those words end with.
  """

  phrases: tuple[str, str]
  objects: tuple[int, int]
  words: tuple[str, str] = ("", "")
  anchor: int | None = None


def counterfactual(
  rng: random.Random, items: list[Item]
) -> Counterfactual | None:
  """A pair of captions, its kind drawn from those that the scene offers.

  Args:
    rng: Source of every choice.
    items: Objects of the scene.

  Returns:
    The pair, or None where no single change leads to another object.
  """
  offers = {kind: list(_changes(items, kind)) for kind in KINDS}
  kinds = [kind for kind in KINDS if offers[kind]]
  if not kinds:
    return None
  (kind,) = rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds])
  # As full as the scene allows, for captions mostly name objects in full.
  words = [len(change.phrases[0].split()) for change in offers[kind]]
  fullest = max(words)
  change = rng.choice(
    [x for x, count in zip(offers[kind], words) if count == fullest]
  )
  order = rng.choice(((0, 1), (1, 0)))
  seed = rng.random()  # both captions join their clauses alike
  first, second = (
    _caption(random.Random(seed), items, change, side) for side in order
  )
  return Counterfactual(
    kind, (first[0].text, second[0].text), (first[1], second[1])
  )


def _changes(items: list[Item], kind: str) -> Iterator[_Change]:
  for pair in itertools.combinations(range(len(items)), 2):
    a, b = (items[number] for number in pair)
    for form in _FORMS:
      for named in (form, (*form, "texture")):
        if "texture" in named and kind != "texture" and a.texture == "plain":
          continue  # "plain" is said only where it tells objects apart
        changed = [x for x in named if getattr(a, x) != getattr(b, x)]
        phrases = noun_phrase(a, named), noun_phrase(b, named)
        if kind == RELATION:
          if matches(items, a, named) == pair:
            yield from _relations(items, pair, phrases)
        elif changed == [kind] and all(
          matches(items, items[number], named) == (number,) for number in pair
        ):
          yield _Change(phrases, pair)


def _relations(
  items: list[Item], pair: tuple[int, int], phrases: tuple[str, str]
) -> Iterator[_Change]:
  """Two objects that share a phrase, told apart by where they are."""
  for axis, words in _SIDES.items():
    low, high = sorted(pair, key=lambda number: getattr(items[number], axis))
    near, far = getattr(items[low], axis), getattr(items[high], axis)
    if near < _SIDE and far > 1 - _SIDE:
      yield _Change(phrases, (low, high), words)
    for anchor in set(range(len(items))) - {*pair}:
      found = [direction(items[n], items[anchor]) for n in (low, high)]
      if found == [(axis, -1), (axis, 1)]:
        for before, after in zip(DIRECTIONS[axis, -1], DIRECTIONS[axis, 1]):
          joined = f" {before} ", f" {after} "
          yield _Change(phrases, (low, high), joined, anchor)


def _caption(
  rng: random.Random, items: list[Item], change: _Change, side: int
) -> tuple[Caption, Phrase]:
  """The caption of one side of a change, and the phrase in question."""
  number = change.objects[side]
  clause = [(change.phrases[side], (number,))]
  if change.words[side]:
    clause.append((change.words[side],))
  told = {*change.objects}
  if change.anchor is not None:
    clause.append((_in_full(rng, items, change.anchor), (change.anchor,)))
    told.add(change.anchor)
  others = [other for other in range(len(items)) if other not in told]
  clauses = [[(_in_full(rng, items, other), (other,))] for other in others]
  clauses.append(clause)
  rng.shuffle(clauses)
  caption = join_clauses(rng, clauses)
  (phrase,) = [p for p in caption.phrases if p.items == (number,)]
  return caption, phrase


def _in_full(rng: random.Random, items: list[Item], number: int) -> str:
  return describe(rng, items, number, full=True)
