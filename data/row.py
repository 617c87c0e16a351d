"""One entry of an annotation file, before its pictures are opened."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from data.captions import clean_caption
from data.clip import Clip

Box = tuple[float, ...]  # x1, y1, x2, y2 in pixels
Problem = tuple[str, str]  # what was left out and why, where it stands
_TUPLES = ("images", "folders", "captions", "needs", "notes")  # of a Row


class PhraseRow(NamedTuple):
  """A phrase of a caption: characters [start, end), its boxes and kinds."""

  text: str
  caption: int
  start: int
  end: int
  boxes: tuple[Box, ...] = ()
  kind: str = ""


class ObjectRow(NamedTuple):
  """An object with its box; crowd: the box holds many of them.

  The area is that of its outline in pixels, 0 where it is not known.
  """

  label: str
  box: Box
  crowd: bool = False
  area: float = 0.0


class QuestionRow(NamedTuple):
  """A question and how many people gave each answer."""

  id: str
  text: str
  kind: str
  answers: Mapping[str, int]


class StatementRow(NamedTuple):
  """A statement about the pictures; group: statements that count as one."""

  text: str
  true: bool
  group: str


class Row(NamedTuple):
  """What a source says about one picture, pair of pictures or clip.

  Attributes:
    name: Unique within the data set.
    images: File names: one, the left and right one of a pair, or a video.
    folders: Where below the source to look for them, first match wins.
    captions: Descriptions, spaces normalised.
    phrases: Phrases of the captions.
    objects: Objects with boxes.
    questions: Questions with answers.
    statements: Statements that are true or false.
    clip: How to take frames when the file is a video.
    size: Width and height that the boxes refer to; None = of the picture as
      it is seen, upright.
    needs: Fields of which one must hold something; () = none.
    notes: Parts that the reader left out.
  """

  name: str
  images: tuple[str, ...]
  folders: tuple[str, ...] = ("",)
  captions: tuple[str, ...] = ()
  phrases: tuple[PhraseRow, ...] = ()
  objects: tuple[ObjectRow, ...] = ()
  questions: tuple[QuestionRow, ...] = ()
  statements: tuple[StatementRow, ...] = ()
  clip: Clip | None = None
  size: tuple[int, int] | None = None
  needs: tuple[str, ...] = ("captions",)
  notes: tuple[str, ...] = ()

  @classmethod
  def thaw(cls, values: Mapping[str, Any]) -> Self:
    """The row whose `_asdict()` went through JSON."""
    kinds = {
      "phrases": PhraseRow,
      "objects": ObjectRow,
      "questions": QuestionRow,
      "statements": StatementRow,
    }
    rows = {
      key: tuple(kind(*row) for row in values[key])
      for key, kind in kinds.items()
    }
    clip, size = values["clip"], values["size"]
    rest = {
      "clip": clip and Clip(*clip),
      "size": size and (size[0], size[1]),
      **{key: tuple(values[key]) for key in _TUPLES},
    }
    return cls(**{**values, **rows, **rest})


def cleaned(row: Row) -> Row:
  """A row whose questions and statements can be stored.

  Captions, phrases and labels are cleaned for all sources by `assembly`; these
  texts go past it.

  Args:
    row: As it was read.

  Returns:
    The row; questions and statements of which nothing is left are gone, and
    its notes tell.
  """
  notes = list(row.notes)

  def clean(text: str, what: str) -> str:
    made, repairs = clean_caption(text)
    notes.extend(note.replace("caption", what, 1) for note in repairs)
    return made

  questions, statements = [], []
  for question in row.questions:
    answers: Counter[str] = Counter()
    for answer, count in question.answers.items():
      answers[clean(answer, "answer")] += count
    answers.pop("", None)
    made = QuestionRow(
      clean(question.id, "id of a question"),
      clean(question.text, "question"),
      clean(question.kind, "kind of a question"),
      dict(answers),
    )
    if made.text and bool(answers) == bool(question.answers):
      questions.append(made)
    else:
      notes.append("question: dropped, no text or no answer")
  for statement in row.statements:
    text = clean(statement.text, "statement")
    group = clean(statement.group, "group of statements")
    if text:
      statements.append(StatementRow(text, statement.true, group))
    else:
      notes.append("statement: dropped, no text")
  return row._replace(
    questions=tuple(questions), statements=tuple(statements), notes=tuple(notes)
  )
