"""Noun phrases: the words of objects, alone and counted.

Words are chosen so that a phrase fits the objects that it names and no other of
the scene.
"""

import random
from collections.abc import Collection

from data.scene import Item

NUMBERS = ("two", "three", "four", "five", "six")
ATTRIBUTES = ("size", "colour", "texture", "shape")
Unit = tuple[str, tuple[int, ...]]  # a noun phrase and the objects it names


def plural(noun: str) -> str:
  return noun + ("es" if noun.endswith("s") else "s")


def describe(
  rng: random.Random, items: list[Item], number: int, full: bool
) -> str:
  """A noun phrase that fits this object and no other of the scene."""
  named = {"size", "colour", "shape"}
  if items[number].texture != "plain":
    named.add("texture")
  if not full and rng.random() < 0.2:
    dropped = rng.choice(("size", "colour", "texture"))
    named.discard(dropped)
  if matches(items, items[number], named) != (number,):
    named = set(ATTRIBUTES)
  return noun_phrase(items[number], named)


def noun_phrase(item: Item, named: Collection[str]) -> str:
  """An article and the words of the named attributes."""
  words = [getattr(item, name) for name in ATTRIBUTES if name in named]
  article = "an" if words[0][0] in "aeiou" else "a"
  return " ".join([article, *words])


def matches(
  items: list[Item], like: Item, named: Collection[str]
) -> tuple[int, ...]:
  """Objects that agree with one in the named attributes, itself included."""
  return tuple(
    number
    for number, item in enumerate(items)
    if all(getattr(item, name) == getattr(like, name) for name in named)
  )


def count_phrases(items: list[Item]) -> list[Unit]:
  """Count phrases ("two red circles") for objects that share words."""
  found: dict[tuple[int, ...], str] = {}
  for optional in (("size", "colour"), ("colour",), ("size",), ()):
    for like in items:
      members = matches(items, like, {*optional, "shape"})
      if len(members) > 1 and members not in found:
        words = [getattr(like, name) for name in optional]
        number = NUMBERS[len(members) - 2]
        found[members] = " ".join([number, *words, plural(like.shape)])
  return [(text, members) for members, text in found.items()]
