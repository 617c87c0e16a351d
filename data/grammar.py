"""Captions of a scene: every object named, in varied order and wording.

A caption is a list of clauses, each one object, a group with its count, or two
objects with a relation that holds in the picture. Every noun phrase carries the
objects that it names, so that its span can be grounded.
"""

import dataclasses
import itertools
import random

from data.noun_phrases import (
  NUMBERS,
  Unit,
  count_phrases,
  describe,
  plural,
)
from data.scene import COLOURS, SHAPES, SIZES, TEXTURES, Item

OPENINGS = ("there is", "a picture of", "a photo of", "this shows", "we see")
_AXIS_MARGIN = 0.12  # distance of centres that makes a relation plain to see
# Words that say how one object lies to another.
DIRECTIONS = {  # axis, direction of the first object: wordings
  ("x", -1): ("left of", "to the left of"),
  ("x", 1): ("right of", "to the right of"),
  ("y", -1): ("above",),
  ("y", 1): ("below",),
}

Clause = list[Unit | tuple[str]]


@dataclasses.dataclass(frozen=True)
class Phrase:
  """A noun phrase, its character span and the objects that it names."""

  text: str
  start: int
  end: int
  items: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Caption:
  text: str
  phrases: tuple[Phrase, ...]


def grammar_words() -> list[str]:
  """Every word that a caption can hold, sorted."""
  shapes = [name + ending for name in SHAPES for ending in ("", "es", "s")]
  plurals = [plural(name) for name in SHAPES]
  shapes = [name for name in shapes if name in SHAPES or name in plurals]
  relations = " ".join(itertools.chain(*DIRECTIONS.values())).split()
  other = ["a", "an", "and", "the", "on", "at", "top", "bottom", "next", "to"]
  openings = " ".join(OPENINGS).split()
  words = {*shapes, *relations, *other, *openings, *NUMBERS}
  return sorted(words | {*COLOURS, *SIZES, *TEXTURES})


def word_classes() -> dict[str, list[str]]:
  """Words that may replace one another and make a caption false."""
  return {
    "size": list(SIZES),
    "colour": list(COLOURS),
    "texture": list(TEXTURES),
    "shape": list(SHAPES),
    "shapes": [plural(shape) for shape in SHAPES],
    "number": list(NUMBERS),
    "horizontal": ["left", "right"],
    "vertical": ["above", "below"],
    "edge": ["top", "bottom"],
  }


def write_captions(
  rng: random.Random, items: list[Item], *, count: int, longest: int
) -> list[Caption]:
  """Captions of one scene; the first names every object in full, on its own.

  Args:
    rng: Source of order and wording.
    items: Objects of the scene.
    count: Captions wanted; fewer when the scene allows no more wordings.
    longest: Largest number of words and punctuation marks.

  Returns:
    Distinct captions.
  """
  captions: dict[str, Caption] = {}
  groups = count_phrases(items)
  for attempt in range(3 * count):
    full = not captions
    caption = _write_caption(
      rng, items, groups, full=full, relate=attempt < 2 * count
    )
    if _length(caption.text) > longest:
      caption = _write_caption(
        rng, items, groups, full=full, relate=False, open=False
      )
    if _length(caption.text) <= longest:
      captions.setdefault(caption.text, caption)
    if len(captions) == count:
      break
  return list(captions.values())


def _length(text: str) -> int:
  return len(text.split()) + text.count(",") + text.count(":")


def _write_caption(
  rng: random.Random,
  items: list[Item],
  groups: list[Unit],
  *,
  full: bool,
  relate: bool,
  open: bool = True,
) -> Caption:
  alone = list(range(len(items)))
  units: list[Unit] = []
  if groups and not full and rng.random() < 0.6:
    grouped = rng.choice(groups)
    units.append(grouped)
    alone = [number for number in alone if number not in grouped[1]]
  units += [(describe(rng, items, number, full), (number,)) for number in alone]
  rng.shuffle(units)
  opening = ""
  if open and not full and rng.random() < 0.3:
    opening = rng.choice(OPENINGS) + " "
  if opening == "there is " and units[0][0].split()[0] in NUMBERS:
    opening = ""
  return join_clauses(rng, _clauses(rng, items, units, relate), opening)


def join_clauses(
  rng: random.Random, clauses: list[Clause], opening: str = ""
) -> Caption:
  """The caption of some clauses.

  Args:
    rng: Source of the joining words.
    clauses: Each a list of parts: a noun phrase with the objects that it
      names, or other words alone.
    opening: Words before the first.

  Returns:
    The caption, its noun phrases in order.
  """
  writer = _Writer(opening)
  for number, clause in enumerate(clauses):
    if number:
      last = number == len(clauses) - 1
      writer.add(" and " if last or rng.random() < 0.4 else ", ")
    for part in clause:
      writer.add(*part)
  return writer.caption()


class _Writer:
  """Joins words and notes where the noun phrases stand."""

  def __init__(self, opening: str):
    self._text = opening
    self._phrases: list[Phrase] = []

  def add(self, text: str, items: tuple[int, ...] = ()) -> None:
    start = len(self._text)
    self._text += text
    if items:
      self._phrases.append(Phrase(text, start, len(self._text), items))

  def caption(self) -> Caption:
    return Caption(self._text, tuple(self._phrases))


def _clauses(
  rng: random.Random, items: list[Item], units: list[Unit], relate: bool
) -> list[Clause]:
  """Units in order, neighbours sometimes joined by a relation that holds."""
  clauses: list[Clause] = []
  index = 0
  while index < len(units):
    unit = units[index]
    if relate and index + 1 < len(units) and rng.random() < 0.65:
      following = units[index + 1]
      words = _relation(rng, items, unit[1], following[1])
      if words:
        clauses.append([unit, (f" {words} ",), following])
        index += 2
        continue
    if relate and len(unit[1]) == 1 and rng.random() < 0.08:
      place = _position(items, unit[1][0])
      clauses.append([unit, (place,)] if place else [unit])
    else:
      clauses.append([unit])
    index += 1
  return clauses


def _relation(
  rng: random.Random,
  items: list[Item],
  first: tuple[int, ...],
  second: tuple[int, ...],
) -> str | None:
  """Words for how single objects lie to each other, if it is plain."""
  if len(first) > 1 or len(second) > 1:
    return None
  a, b = items[first[0]], items[second[0]]
  found = direction(a, b)
  if found is None:
    return None
  touching = (a.extent + b.extent) / 2 + 0.08
  apart = max(abs(a.x - b.x), abs(a.y - b.y))
  if rng.random() < 0.15 and apart < touching:
    return "next to"
  wordings = DIRECTIONS[found]
  return wordings[int(rng.random() < 0.3) % len(wordings)]


def direction(a: Item, b: Item) -> tuple[str, int] | None:
  """Axis and sign of the way from b to a, a key of DIRECTIONS, if plain."""
  dx, dy = a.x - b.x, a.y - b.y
  axis, distance = ("x", dx) if abs(dx) > abs(dy) else ("y", dy)
  if abs(distance) < _AXIS_MARGIN:
    return None
  return axis, 1 if distance > 0 else -1


def _position(items: list[Item], number: int) -> str | None:
  """Words for the side of the picture that only this object lies on."""
  sides = {
    " on the left": [item.x for item in items],
    " on the right": [1 - item.x for item in items],
    " at the top": [item.y for item in items],
    " at the bottom": [1 - item.y for item in items],
  }
  for words, distances in sides.items():
    others = [d for index, d in enumerate(distances) if index != number]
    if distances[number] < 0.35 and all(d > 0.5 for d in others):
      return words
  return None
