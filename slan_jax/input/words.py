"""Edits of a caption's words: mirrored directions and swapped words."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from slan_jax.input.errors import InputError

_WORD = re.compile(r"[a-z0-9]+", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(a)n? $", re.IGNORECASE)
_MIRRORED = {
  "left": "right",
  "leftmost": "rightmost",
  "leftward": "rightward",
  "leftwards": "rightwards",
  "lefthand": "righthand",
  "lefty": "righty",
}
_MIRRORED |= {right: left for left, right in _MIRRORED.items()}
_DIRECTION = re.compile(
  rf"\b({'|'.join(sorted(_MIRRORED, key=len, reverse=True))})\b",
  re.IGNORECASE,
)
Class = Sequence[str | Sequence[str]]


def mirror_directions(caption: str) -> str:
  """The caption of the mirrored picture: left and right change places.

  Whole words only: "bright" and "leftovers" stay.
  """
  return _DIRECTION.sub(_mirrored, caption)


def _mirrored(match: re.Match) -> str:
  return _like(match[0], _MIRRORED[match[0].lower()])


def _like(original: str, word: str) -> str:
  """The word in the original's case."""
  if original.isupper() and len(original) > 1:
    return word.upper()
  return word.capitalize() if original[0].isupper() else word


class WordSwapper:
  """Makes captions that are almost right: one word replaced in its class."""

  def __init__(self, classes: Mapping[str, Class]):
    """Learns the classes.

    Args:
      classes: Name of a class to its words. Words of a class exclude each
        other, but for those grouped in a list, which mean the same. A word
        in two classes belongs to the first.

    Raises:
      InputError: A class is not a list of words.
    """
    self._others: dict[str, list[str]] = {}
    for name, members in classes.items():
      groups = [[m] if isinstance(m, str) else list(m) for m in members]
      words = [word for group in groups for word in group]
      if not all(isinstance(w, str) and _WORD.fullmatch(w) for w in words):
        raise InputError(
          f"word class {name!r}: expected single words, got {words}"
        )
      for group in groups:
        others = [word for word in words if word not in group]
        for word in group:
          self._others.setdefault(word, others)

  def negatives(
    self, caption: str, count: int, rng: random.Random
  ) -> list[str]:
    """Different captions with one word replaced.

    Args:
      caption: The true caption.
      count: Captions wanted.
      rng: Source of the choices.

    Returns:
      Up to `count` captions; fewer when the caption has too few such words.
    """
    places = [
      (match, others)
      for match in _WORD.finditer(caption)
      if (others := self._others.get(match[0].lower()))
    ]
    if not places:
      return []
    found: dict[str, None] = {}
    for _ in range(4 * count):  # repeats are rare: a caption has many swaps
      if len(found) == count:
        break
      match, others = places[int(rng.random() * len(places))]
      word = others[int(rng.random() * len(others))]
      found[_replaced(caption, match, word)] = None
    return list(found)


def _replaced(caption: str, match: re.Match, word: str) -> str:
  before, after = caption[: match.start()], caption[match.end() :]
  # The article follows the new word: a wrong one would give the swap away.
  ending = "n " if word[0] in "aeiou" else " "
  before = _ARTICLE.sub(lambda found: found[1] + ending, before)
  return before + _like(match[0], word) + after


def load_word_classes(name: str, directory: str | Path) -> dict[str, Class]:
  """Loads the classes of words that exclude each other.

  Args:
    name: "dataset" for the prepared directory's own file, where it has one,
      "builtin" for the English lists of this package, or a JSON file.
    directory: The prepared directory.

  Returns:
    Name of a class to its words.

  Raises:
    InputError: The file is missing or is not such a table.
  """
  path = Path(directory) / "word_classes.json" if name == "dataset" else None
  if name == "builtin" or (path and not path.is_file()):
    path = resources.files("slan_jax.input") / "word_classes.json"
  path = path or Path(name)
  try:
    classes = json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise InputError(f"text.word_classes {str(path)!r}: {error}") from error
  if not isinstance(classes, dict) or not all(
    isinstance(words, list) for words in classes.values()
  ):
    raise InputError(f"{path}: expected an object of lists of words")
  return classes
