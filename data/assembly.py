"""From what a source gives to the record that is stored."""

from typing import Any

import numpy as np

from data import boxes, schema
from data.captions import clean_caption
from data.errors import Unusable
from data.pictures import usable_picture
from data.source import Example


def assemble(
  example: Example, *, decode: bool = False
) -> tuple[dict[str, Any], list[str]]:
  """Checks and repairs an example by the rules that all sources share.

  Args:
    example: What a source yielded.
    decode: Decode every picture to its end.

  Returns:
    A record of `schema`, and what was repaired.

  Raises:
    Unusable: There is no usable picture or no caption.
  """
  name, _ = clean_caption(example.name)
  if not name:
    raise Unusable("record without a name")
  picture = usable_picture(example.image, example.size, decode=decode)
  notes = [*example.notes, *picture.notes]
  phrases, phrase_boxes = list(example.phrases), list(example.phrase_boxes)
  objects = [(*row, place) for place, row in enumerate(example.objects)]
  if example.size and tuple(example.size) != picture.size:
    # Boxes of another version of the picture would be wrong silently.
    if objects or phrase_boxes:
      notes.append("boxes: dropped, picture differs in size")
    objects, phrase_boxes = [], []
  captions, places = _clean_captions(example.captions, notes)
  if not captions and not example.captionless:
    raise Unusable("no caption")
  kept = _keep_phrases(phrases, captions, places, notes)
  numbers = {old: new for new, (old, _) in enumerate(kept)}
  boxed = _keep_boxes(objects, notes)
  record = schema.record(
    name,
    picture.data,
    picture.size,
    captions,
    phrases=[row for _, row in kept],
    phrase_boxes=[
      (numbers[row[0]], box)
      for row, box in _keep_boxes(phrase_boxes, notes)
      if row[0] in numbers
    ],
    objects=[
      (clean_caption(row[0])[0], box, bool(row[2])) for row, box in boxed
    ],
  )
  extra = dict(example.extra)
  if "phrase_kinds" in extra:  # one for each phrase, so they go together
    kinds = extra["phrase_kinds"]
    extra["phrase_kinds"] = [clean_caption(kinds[old])[0] for old, _ in kept]
  if "object_areas" in extra:  # likewise
    areas = [extra["object_areas"][row[3]] for row, _ in boxed]
    extra["object_areas"] = np.array(areas, np.float32)
  return {**record, **extra}, notes


def _clean_captions(
  texts: list[Any], notes: list[str]
) -> tuple[list[str], dict[int, int]]:
  """Captions that are left, and their new numbers by their old ones."""
  captions, places = [], {}
  for number, text in enumerate(texts):
    caption, repairs = clean_caption(text)
    notes += repairs
    if caption:
      places[number] = len(captions)
      captions.append(caption)
    else:
      notes.append("caption: dropped, empty")
  return captions, places


def _keep_phrases(
  rows: list[tuple],
  captions: list[str],
  places: dict[int, int],
  notes: list[str],
) -> list[tuple[int, tuple]]:
  """Phrases that still stand where they say, with their old numbers."""
  kept = []
  for number, (text, caption, start, end) in enumerate(rows):
    place = places.get(caption)
    if place is not None and captions[place][start:end] == text and text:
      kept.append((number, (text, place, start, end)))
    else:
      notes.append("phrase: dropped, not in its caption")
  return kept


def _keep_boxes(rows: list[tuple], notes: list[str]) -> list[tuple[tuple, Any]]:
  """Rows whose box is kept, with that box."""
  kept = []
  for row in rows:
    box, note = boxes.clean_box(row[1])
    notes += [note] if note else []
    if box is not None:
      kept.append((row, box))
  return kept
