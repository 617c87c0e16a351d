"""Statements about pairs of scenes: each told of four pairs, true of two.

Statements come in twos that differ in a word, and so do their pairs: what the
one is true of, the other is false of. Neither the sentence alone nor the
pictures alone tell anything.
"""

import dataclasses
import random
from collections.abc import Mapping

import numpy as np

from data.noun_phrases import NUMBERS, plural
from data.scene import COLOURS, SHAPES, Item, Level, sample_items

KINDS = ("side", "both", "each", "more", "count")
SIDES = ("left", "right")
# What statements hold beside the words of captions.
WORDS = ("pictures", "each", "more", "in", "are")
PAIRS = 4  # told of by two statements: PAIRS * 2 records
_VALUES = {"colour": tuple(COLOURS), "shape": SHAPES}
_TRIES = 60  # changes before another pair is taken

Pair = tuple[list[Item], list[Item]]  # left and right picture
Words = Mapping[str, str]  # of an object, by attribute


@dataclasses.dataclass(frozen=True)
class Statement:
  """A sentence about two pictures.

  Attributes:
    kind: One of KINDS.
    words: Colour and shape of the objects that it speaks of, one or two.
    side: 0 = left, 1 = right, where the sentence names one.
    count: Objects in both pictures together, where it gives a number.
  """

  kind: str
  words: tuple[Words, ...]
  side: int
  count: int

  @property
  def text(self) -> str:
    """The sentence."""
    things, side = [_phrase(words) for words in self.words], SIDES[self.side]
    many = plural(self.words[0]["shape"])
    return {
      "side": f"the {side} picture shows {things[0]}",
      "both": f"the left picture shows {things[0]} and the right picture "
      f"shows {things[-1]}",
      "each": f"each picture shows {things[0]}",
      "more": f"the {side} picture shows more {many}",
      "count": f"there are {NUMBERS[self.count - 2]} {many} in the two "
      "pictures",
    }[self.kind]

  def holds(self, pair: Pair) -> bool:
    """Whether it is true of a pair."""
    first, last = self.words[0], self.words[-1]
    if self.kind == "side":
      return _number(pair[self.side], first) > 0
    if self.kind == "both":
      return _number(pair[0], first) > 0 and _number(pair[1], last) > 0
    if self.kind == "each":
      return all(_number(items, first) for items in pair)
    shape = {"shape": first["shape"]}
    numbers = [_number(items, shape) for items in pair]
    if self.kind == "more":
      return numbers[self.side] > numbers[1 - self.side]
    return sum(numbers) == self.count


def sample_statements(
  rng: np.random.Generator, level: Level
) -> tuple[list[Statement], list[Pair]]:
  """Two statements, and the pairs that both are told of.

  Args:
    rng: Source of every choice.
    level: Numbers and sizes of the objects.

  Returns:
    The statements and PAIRS pairs, half of which the first one alone is true
    of, and half the second one alone.
  """
  words = random.Random(int(rng.integers(2**63)))
  first = _statement(words)
  second = _varied(words, first)
  pairs: list[Pair] = []
  while len(pairs) < PAIRS:
    true, false = (first, second)[:: 1 if len(pairs) < PAIRS // 2 else -1]
    pair = (sample_items(rng, level), sample_items(rng, level))
    for _ in range(_TRIES):
      if true.holds(pair) and not false.holds(pair):
        pairs.append(pair)
        break
      pair = _planted(words, pair, true)
  words.shuffle(pairs)
  return [first, second], pairs


def _statement(rng: random.Random) -> Statement:
  kind = rng.choice(KINDS)
  words = tuple(
    {name: rng.choice(values) for name, values in _VALUES.items()}
    for _ in range(2 if kind == "both" else 1)
  )
  return Statement(kind, words, rng.randrange(2), rng.choice((2, 3)))


def _varied(rng: random.Random, statement: Statement) -> Statement:
  """The statement with one word replaced, perhaps that of the side."""
  if statement.kind in ("side", "more") and rng.random() < 0.5:
    return dataclasses.replace(statement, side=1 - statement.side)
  if statement.kind == "count" and rng.random() < 0.5:
    return dataclasses.replace(statement, count=5 - statement.count)
  words = list(statement.words)
  place = rng.randrange(len(words))
  counted = statement.kind in ("more", "count")  # by shape alone
  name = "shape" if counted else rng.choice(tuple(_VALUES))
  others = [x for x in _VALUES[name] if x != words[place][name]]
  words[place] = {**words[place], name: rng.choice(others)}
  return dataclasses.replace(statement, words=tuple(words))


def _phrase(words: Words) -> str:
  article = "an" if words["colour"][0] in "aeiou" else "a"
  return f"{article} {words['colour']} {words['shape']}"


def _number(items: list[Item], words: Words) -> int:
  """How many objects have all of these words."""
  return sum(
    all(getattr(item, name) == word for name, word in words.items())
    for item in items
  )


def _planted(rng: random.Random, pair: Pair, statement: Statement) -> Pair:
  """The pair with words of one object changed to some of the statement's.

  The pair itself where two objects of a picture would become the same.
  """
  sides, side = list(pair), rng.randrange(2)
  items = list(sides[side])
  place = rng.randrange(len(items))
  words = rng.choice(statement.words)
  items[place] = dataclasses.replace(items[place], **words)
  if len({item.attributes for item in items}) == len(items):
    sides[side] = items
  return sides[0], sides[1]
