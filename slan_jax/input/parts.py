"""Records of tasks that have more than pictures and captions."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.source import (
  TrainingRecord,
  TrainingSource,
  read_record,
  texts,
)


class Question(NamedTuple):
  """A question about a picture.

  Attributes:
    id: Its number in the data set, as text.
    text: The question.
    kind: What sort of answer it has; "" = not known.
    answers: How many people gave each answer; {} = not known.
  """

  id: str
  text: str
  kind: str
  answers: dict[str, int]


class Statement(NamedTuple):
  """A statement about a pair of pictures.

  Attributes:
    text: The statement.
    true: Whether it is true.
    group: Statements of one group count as one for consistency.
  """

  text: str
  true: bool
  group: str


class PartRecord(NamedTuple):
  """A record with the parts that its data set has.

  Attributes:
    record: Picture and captions.
    questions: Questions about it.
    statements: Statements about it and the further pictures.
    more: Encoded pictures after the first, with width and height in pixels.
  """

  record: TrainingRecord
  questions: list[Question]
  statements: list[Statement]
  more: list[tuple[bytes, tuple[int, int]]]

  @property
  def id(self) -> str:
    """Name within the data set."""
    return self.record.id

  @property
  def pictures(self) -> list[tuple[bytes, tuple[int, int]]]:
    """All pictures in order, the first one among them."""
    return [(self.record.image, self.record.size), *self.more]


class PartSource(TrainingSource):
  """Random access to the records of a task's split."""

  def __init__(self, directory: str | Path, split: str, needs: Iterable[str]):
    """Opens a split.

    Args:
      directory: A prepared directory.
      split: Name of the split.
      needs: Fields that the task cannot do without.

    Raises:
      InputError: The directory or the split is missing or damaged, or its
        records lack a field.
    """
    super().__init__(directory, split)
    missing = sorted(set(needs) - self.fields)
    if missing:
      raise InputError(
        f"{directory}: its records have no {', no '.join(missing)}; this task "
        "needs them, data/README.md says which data sets have them"
      )

  def __getitem__(self, number: int) -> PartRecord:
    fields = self.features(number)
    try:
      return PartRecord(
        record=read_record(fields),
        questions=_questions(fields),
        statements=_statements(fields),
        more=_pictures(fields),
      )
    except (IndexError, UnicodeDecodeError) as error:
      raise BadRecord("unreadable record") from error


def _questions(fields) -> list[Question]:
  questions = [
    Question(*row, {})
    for row in zip(
      texts(fields, "questions/id"),
      texts(fields, "questions/text"),
      texts(fields, "questions/kind"),
    )
  ]
  answers = zip(
    fields["answers/question"].int64_list.value,
    texts(fields, "answers/text"),
    fields["answers/count"].int64_list.value,
  )
  for number, text, count in answers:
    questions[number].answers[text] = count
  return questions


def _statements(fields) -> list[Statement]:
  return [
    Statement(text, bool(true), group)
    for text, true, group in zip(
      texts(fields, "statements/text"),
      fields["statements/true"].int64_list.value,
      texts(fields, "statements/group"),
    )
  ]


def _pictures(fields) -> list[tuple[bytes, tuple[int, int]]]:
  return [
    (image, (width, height))
    for image, width, height in zip(
      fields["more_images/image"].bytes_list.value,
      fields["more_images/width"].int64_list.value,
      fields["more_images/height"].int64_list.value,
    )
  ]
