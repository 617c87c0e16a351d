"""One entry of people's own data, checked field by field."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from data.listing import plain
from data.own.box import read_box
from data.row import (
  Box,
  ObjectRow,
  PhraseRow,
  QuestionRow,
  Row,
)

_SAYS = ("captions", "objects", "questions")
_KEYS = {"image", "id", "split", "caption", "phrases", *_SAYS}


class BrokenEntry(Exception):
  """Why an entry cannot be used at all."""


class EntryReader:
  """Makes rows of entries.

  Attributes:
    boxes: Boxes seen, by what is wrong with them; "" = nothing.
  """

  def __init__(self) -> None:
    self.boxes: Counter[str] = Counter()
    self._unknown: set[str] = set()
    self._notes: list[str] = []  # of the entry that is being read

  def row(self, where: str, entry: dict[str, Any], folder: str) -> Row:
    """One entry as a row.

    Args:
      where: Its place in the source, which names its questions.
      entry: Its fields.
      folder: Where below the source the path of the picture starts.

    Returns:
      The row; its notes tell which parts could not be used.

    Raises:
      BrokenEntry: It names no picture, or a field has another type.
    """
    self._notes = []
    for key in sorted(entry.keys() - _KEYS - self._unknown):
      self._unknown.add(key)
      self._notes.append(f"key {key!r} is not known")
    image = entry.get("image")
    if not isinstance(image, str) or not image.strip():
      raise BrokenEntry("no image path")
    captions = self._captions(entry)
    return Row(
      name=_name(entry, image),
      images=(image,),
      folders=(folder,),
      captions=tuple(plain(text) for text in captions),
      phrases=tuple(self._phrases(entry, captions)),
      objects=tuple(self._objects(entry)),
      questions=tuple(self._questions(where, entry)),
      needs=_SAYS,
      notes=tuple(self._notes),
    )

  def _captions(self, entry: dict[str, Any]) -> list[str]:
    """Captions as they are written, for phrases count their characters."""
    given = entry.get("captions", entry.get("caption", []))
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list):
      raise BrokenEntry("captions is not a list of texts")
    kept = [text for text in given if plain(text)]
    if len(kept) < len(given):
      if entry.get("phrases"):  # they count captions, too
        raise BrokenEntry("empty caption among captions with phrases")
      self._notes.append("caption: dropped, empty")
    return kept

  def _phrases(
    self, entry: dict[str, Any], captions: list[str]
  ) -> Iterator[PhraseRow]:
    for phrase in _objects_of(entry, "phrases"):
      found = locate(phrase, captions)
      if isinstance(found, str):
        self._notes.append(found)
        continue
      boxes = phrase.get("boxes", [])
      usable = [self._box(b) for b in _list(boxes, "phrases: boxes")]
      yield found._replace(boxes=tuple(box for box in usable if box))

  def _objects(self, entry: dict[str, Any]) -> Iterator[ObjectRow]:
    for thing in _objects_of(entry, "objects"):
      label = plain(thing.get("label"))
      box = self._box(thing.get("box"))
      if not label:
        self._notes.append("object: dropped, no label")
      elif box:
        yield ObjectRow(label, box, thing.get("crowd") in (True, 1))

  def _questions(
    self, where: str, entry: dict[str, Any]
  ) -> Iterator[QuestionRow]:
    for number, question in enumerate(_objects_of(entry, "questions")):
      text = plain(question.get("question"))
      if not text:
        self._notes.append("question: dropped, no text")
        continue
      given = question.get("answers", question.get("answer", []))
      given = [given] if isinstance(given, str) else given
      answers = Counter(
        plain(answer) for answer in _list(given, "questions: answers")
      )
      if answers.pop("", 0):
        self._notes.append("answer: dropped, empty")
      name = question.get("id", f"{where}#{number}")
      yield QuestionRow(str(name), text, "", dict(answers))

  def _box(self, value: Any) -> Box | None:
    box = read_box(value)
    self.boxes[box if isinstance(box, str) else ""] += 1
    if isinstance(box, str):
      self._notes.append(box)
      return None
    return box


def locate(phrase: dict[str, Any], captions: list[str]) -> PhraseRow | str:
  """Where a phrase stands in the captions.

  Args:
    phrase: "text", and perhaps "caption" (number; without it the first that
      fits) and "span" (characters [start, end) of the caption as written).
    captions: The captions as written; stored ones have single spaces.

  Returns:
    The phrase in the stored caption, or why there is none.
  """
  text, span = plain(phrase.get("text")), phrase.get("span")
  number = phrase.get("caption")
  if not text:
    return "phrase: dropped, no text"
  if number is not None and number not in range(len(captions)):
    return "phrase: dropped, no caption of that number"
  if span is not None and not (
    isinstance(span, list)
    and len(span) == 2
    and all(isinstance(v, int) for v in span)
    and 0 <= span[0] < span[1]
  ):
    return "phrase: dropped, span is not [start, end]"
  for place in range(len(captions)) if number is None else [number]:
    stored = plain(captions[place])
    if span is None:
      start = stored.find(text)
    else:
      before = captions[place][: span[0]]
      start = len(plain(before)) + bool(before.strip() and before[-1].isspace())
      if plain(captions[place][slice(*span)]) != text:
        continue
    if start >= 0 and stored[start : start + len(text)] == text:
      return PhraseRow(text, place, start, start + len(text))
  return "phrase: dropped, not in its caption"


def _name(entry: dict[str, Any], image: str) -> str:
  name = entry.get("id", image)
  if isinstance(name, bool) or not isinstance(name, str | int):
    raise BrokenEntry("id is neither text nor number")
  return str(name)


def _objects_of(entry: dict[str, Any], key: str) -> list[dict[str, Any]]:
  rows = _list(entry.get(key, []), key)
  if not all(isinstance(row, dict) for row in rows):
    raise BrokenEntry(f"{key}: expected JSON objects")
  return rows


def _list(value: Any, key: str) -> list:
  if not isinstance(value, list):
    raise BrokenEntry(f"{key} is not a list")
  return value
