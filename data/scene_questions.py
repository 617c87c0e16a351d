"""Questions about scenes, with the answers of ten people who mostly agree.

No answer can be guessed from its question: colours, shapes and sizes are drawn
evenly, half of all questions to be answered with yes or no are answered with
yes, and counts are asked for so that each is the answer as often.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from data.grammar import DIRECTIONS, direction
from data.noun_phrases import ATTRIBUTES, matches, noun_phrase, plural
from data.scene import COLOURS, SHAPES, SIZES, Item

KINDS = ("colour", "shape", "size", "count", "exists", "relation")
PEOPLE = 10
_DISSENT = 0.08  # chance that one of them gives another answer
_MOST_DISSENT = 3  # the agreed answer stays beyond doubt
_VALUES = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES}
# Counts that are asked for of each attribute; more are too rare to balance.
_COUNTS = {"shape": "012", "colour": "012", "size": "0123"}
_EXISTING = (
  ("colour", "shape"),
  ("size", "shape"),
  ("size", "colour", "shape"),
)
_YES_NO = ("yes", "no")
# What questions and answers hold beside the words of captions.
WORDS = (*_VALUES, "what", "how", "many", "are", "one", "ones", *_YES_NO)


class Question(NamedTuple):
  """A question about one scene: its kind, words and right answer."""

  kind: str
  text: str
  answer: str


def ask(rng: random.Random, scenes: list[list[Item]]) -> list[list[Question]]:
  """Questions about each of some scenes.

  Args:
    rng: Source of every choice.
    scenes: Objects of each; counts are balanced over all of them.

  Returns:
    For each scene up to one question of each kind.
  """
  asked = [
    [
      question
      for kind in ("colour", "shape", "size")
      for question in _attribute(rng, items, kind)
    ]
    + [_existence(rng, items), *_relation(rng, items)]
    for items in scenes
  ]
  for turn, (name, counts) in enumerate(_COUNTS.items()):
    own = range(turn, len(scenes), len(_COUNTS))
    for number, question in _counts(
      rng, [scenes[n] for n in own], name, counts
    ):
      asked[own[number]].append(question)
  return asked


def votes(rng: random.Random, question: Question) -> dict[str, int]:
  """How many of ten people gave each answer; most gave the right one."""
  dissent = sum(rng.random() < _DISSENT for _ in range(PEOPLE))
  dissent = min(dissent, _MOST_DISSENT)
  given = Counter({question.answer: PEOPLE - dissent})
  given.update(_mistake(rng, question) for _ in range(dissent))
  return dict(given)


def _mistake(rng: random.Random, question: Question) -> str:
  """An answer that a hasty look might give."""
  kind, right = question.kind, question.answer
  if kind == "count":
    near = int(right) + rng.choice((-1, 1))
    return str(near if near >= 0 else 1)
  if kind == "colour":  # of a hue beside it
    place = _VALUES[kind].index(right) + rng.choice((-1, 1))
    return _VALUES[kind][place % len(COLOURS)]
  return rng.choice([x for x in _VALUES.get(kind, _YES_NO) if x != right])


def _named(items: list[Item], number: int, without: str) -> list[set[str]]:
  """Attributes that single out an object without one of them."""
  like = items[number]
  free = [name for name in ATTRIBUTES if name != without]
  if like.texture == "plain":
    free.remove("texture")
  head = "colour" if without == "shape" else "shape"
  others = [name for name in free if name != head]
  sets = (
    {head, *more}
    for size in range(len(others) + 1)
    for more in itertools.combinations(others, size)
  )
  return [named for named in sets if matches(items, like, named) == (number,)]


def _the(item: Item, named: set[str]) -> str:
  words = noun_phrase(item, named).split()[1:]
  return " ".join(["the", *words, *["one"][: "shape" not in named]])


def _attribute(
  rng: random.Random, items: list[Item], kind: str
) -> Iterator[Question]:
  """What colour, shape or size an object has."""
  found = {n: _named(items, n, kind) for n in range(len(items))}
  numbers = [number for number, sets in found.items() if sets]
  if numbers:
    number = rng.choice(numbers)
    phrase = _the(items[number], rng.choice(found[number]))
    answer = getattr(items[number], kind)
    yield Question(kind, f"what {kind} is {phrase}?", answer)


def _existence(rng: random.Random, items: list[Item]) -> Question:
  """Whether there is such an object; if not, one word is wrong."""
  answer, named = rng.choice(_YES_NO), rng.choice(_EXISTING)
  while True:
    item = rng.choice(items)
    words = {name: getattr(item, name) for name in named}
    if answer == "no":
      changed = rng.choice(named)
      words[changed] = rng.choice(_VALUES[changed])
    there = any(
      all(getattr(x, name) == word for name, word in words.items())
      for x in items
    )
    if there == (answer == "yes"):
      break
  text = " ".join(words.values())
  article = "an" if text[0] in "aeiou" else "a"
  return Question("exists", f"is there {article} {text}?", answer)


def _relation(rng: random.Random, items: list[Item]) -> Iterator[Question]:
  """Whether one object lies to another as a word of place says."""
  pairs = [
    (a, b)
    for a, b in itertools.permutations(range(len(items)), 2)
    if direction(items[a], items[b])
  ]
  if not pairs:
    return
  pair = rng.choice(pairs)
  # Whatever the objects are, some words tell them from all others.
  phrases = [
    _the(items[n], rng.choice(_named(items, n, "") or [set(ATTRIBUTES)]))
    for n in pair
  ]
  axis, sign = direction(*(items[number] for number in pair))
  answer = rng.choice(_YES_NO)
  place = rng.choice(DIRECTIONS[axis, sign if answer == "yes" else -sign])
  text = f"is {phrases[0]} {place} {phrases[1]}?"
  yield Question("relation", text, answer)


def _counts(
  rng: random.Random, scenes: list[list[Item]], name: str, counts: str
) -> Iterator[tuple[int, Question]]:
  """How many objects share a word: each count in as many scenes as another."""
  offers: dict[str, dict[int, list[str]]] = {count: {} for count in counts}
  for number, items in enumerate(scenes):
    held = Counter(getattr(item, name) for item in items)
    for value in _VALUES[name]:
      if str(held[value]) in offers:
        offers[str(held[value])].setdefault(number, []).append(value)
  rarest = sorted(counts, key=lambda count: len(offers[count]))
  each = min(len(offers[rarest[0]]), len(scenes) // len(counts))
  taken: dict[int, Question] = {}
  for count in rarest:
    free = [number for number in offers[count] if number not in taken]
    for number in rng.sample(free, min(each, len(free))):
      value = rng.choice(offers[count][number])
      noun = plural(value) if name == "shape" else f"{value} ones"
      taken[number] = Question("count", f"how many {noun} are there?", count)
  yield from taken.items()
