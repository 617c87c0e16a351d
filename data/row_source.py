"""Sources whose annotation files name their pictures one by one."""

import abc
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from data.boxes import fractions
from data.clip import read_frames
from data.errors import PreparationError, Unusable
from data.listing import Listing
from data.parts import (
  image_fields,
  part_features,
  question_fields,
  statement_fields,
)
from data.pictures import usable_picture
from data.report import is_local
from data.row import Box, Row, cleaned
from data.source import Example, Skip, Source, check_inside, read_file

_Sized = tuple[bytes, tuple[int, int]]  # an encoded picture, its size


class RowSource(Source, abc.ABC):
  """A source that is listed whole before the first picture is opened."""

  _listed: Listing | None = None
  _parts: tuple[str, ...] | None = None

  @abc.abstractmethod
  def read_listing(self) -> Listing:
    """Reads the annotation files.

    Raises:
      PreparationError: They are not what they should be.
    """

  def listing(self) -> Listing:
    """What the annotation files hold, read once.

    Raises:
      PreparationError: They are not what they should be.
    """
    if self._listed is None:
      try:
        self._listed = self.read_listing()
      except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PreparationError(
          f"--source {self.root}: an annotation file has another form than "
          f"data/README.md says ({type(error).__name__}: {error})"
        ) from error
      self._parts = self._listed.parts
      if not any(self._listed.splits.values()):
        lost = "; ".join(f"{w} ({at})" for w, at in self._listed.problems[:5])
        raise PreparationError(
          f"--source {self.root} holds no usable entry, see data/README.md. "
          f"{lost}"
        )
    return self._listed

  def __getstate__(self) -> dict[str, Any]:
    """Other processes are told what to read row by row."""
    self.listing()
    return {**self.__dict__, "_listed": None}

  def items(self) -> Iterator[tuple[str, Any]]:
    listing = self.listing()
    first = next(split for split, rows in listing.splits.items() if rows)
    for reason, where in listing.problems:
      yield first, {"left_out": reason, "where": where}
    for split, rows in listing.splits.items():
      for row in rows:
        yield split, row._asdict()

  def read(self, split: str, item: Any) -> Iterator[Example | Skip]:
    del split
    if "left_out" in item:
      yield Skip(item["left_out"], item["where"])
      return
    row = cleaned(Row.thaw(item))
    try:
      yield self.example(row)
    except Unusable as error:
      yield Skip(str(error), row.name)

  def label(self, item: Any) -> str:
    return item["where"] if "left_out" in item else item["name"]

  def fields(self) -> dict[str, Any]:
    if self._parts is None:
      self.listing()
    return part_features(self._parts)

  def texts(self) -> dict[str, str]:
    return self.listing().files

  def example(self, row: Row) -> Example:
    """Opens the pictures of a row.

    Raises:
      Unusable: One is missing or broken, or nothing is said about it.
    """
    if row.needs and not any(getattr(row, field) for field in row.needs):
      raise Unusable(f"no {', no '.join(row.needs)}")
    if row.clip:
      (image, _), *more = self._frames(row)
    else:
      image, *others = [self.open(name, row.folders) for name in row.images]
      more = [usable_picture(data)[:2] for data in others]
    boxed = any(phrase.boxes for phrase in row.phrases) or row.objects
    size = row.size
    if boxed and size is None:
      size = usable_picture(image).size
    return Example(
      name=row.name,
      image=image,
      captions=list(row.captions),
      size=row.size,
      phrases=[phrase[:4] for phrase in row.phrases],
      phrase_boxes=[
        (number, _fractions(box, size))
        for number, phrase in enumerate(row.phrases)
        for box in phrase.boxes
      ],
      objects=[
        (thing.label, _fractions(thing.box, size), thing.crowd)
        for thing in row.objects
      ],
      extra=self._extra(row, more),
      notes=row.notes,
      captionless=row.needs != ("captions",),
    )

  def open(self, name: str, folders: tuple[str, ...]) -> bytes:
    """An encoded picture.

    Raises:
      Unusable: There is none, or it is outside the source.
    """
    return read_file(self.root, name, folders)

  def _frames(self, row: Row) -> list[_Sized]:
    (name,) = row.images
    check_inside(name)
    paths = [self.root / folder / name for folder in row.folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
      raise Unusable("video missing")
    if is_local(path):
      return read_frames(os.fspath(path), row.clip)
    # Readers of videos know files only. The name stays: frames are drawn by it.
    with tempfile.TemporaryDirectory() as place:
      copy = os.path.join(place, os.path.basename(name))
      try:
        with path.open("rb") as source, open(copy, "wb") as file:
          shutil.copyfileobj(source, file)
      except OSError as error:
        raise Unusable("video unreadable") from error
      return read_frames(copy, row.clip)

  def _extra(self, row: Row, more: list[_Sized]) -> dict[str, Any]:
    parts = self._parts or ()
    extra = question_fields(row.questions) if "questions" in parts else {}
    if "statements" in parts:
      extra |= statement_fields(row.statements)
    if "more_images" in parts:
      extra |= image_fields(more)
    if "phrase_kinds" in parts:
      extra["phrase_kinds"] = [phrase.kind for phrase in row.phrases]
    if "object_areas" in parts:
      extra["object_areas"] = [thing.area for thing in row.objects]
    return extra


def _fractions(box: Box, size: tuple[int, int]) -> Any:
  x1, y1, x2, y2 = box
  return fractions((x1, y1, x2 - x1, y2 - y1), size)
