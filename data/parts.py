"""Fields of records that only some tasks have.

`questions` with their `answers`; `statements` that are true or false;
`more_images`, pictures after the first: the right one of a pair, the later
frames of a clip; `phrase_kinds`, what sort of thing each phrase names;
`object_areas`, how much of the picture each object covers. Lists stay flat: an
answer names its question by number.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data.row import QuestionRow, StatementRow

# Texts of a record that a vocabulary may be learned from.
LEARNABLE = ("captions", "questions/text", "answers/text", "statements/text")
_FEATURES = tfds.features


def part_features(parts: Iterable[str]) -> dict[str, Any]:
  """TFDS features of some parts.

  Args:
    parts: Of "questions", "statements", "more_images", "phrase_kinds" and
      "object_areas".

  Returns:
    Features by field name.
  """
  texts = _FEATURES.Sequence(_FEATURES.Text())
  numbers = _FEATURES.Tensor(shape=(None,), dtype=np.int32)
  flags = _FEATURES.Tensor(shape=(None,), dtype=np.bool_)
  areas = _FEATURES.Tensor(shape=(None,), dtype=np.float32)
  known = {
    "questions": {
      "questions": {"id": texts, "text": texts, "kind": texts},
      # One row per distinct answer of a question, with how often it was given.
      "answers": {"question": numbers, "text": texts, "count": numbers},
    },
    "statements": {
      "statements": {"text": texts, "true": flags, "group": texts}
    },
    "more_images": {
      "more_images": {
        # Encoded; TFDS cannot give back a list of images undecoded.
        "image": texts,
        "width": numbers,  # pixels
        "height": numbers,
      }
    },
    # One per phrase; several kinds are joined by "/".
    "phrase_kinds": {"phrase_kinds": texts},
    # One per object: of its outline, in pixels; 0 = not known.
    "object_areas": {"object_areas": areas},
  }
  return {
    name: feature for part in parts for name, feature in known[part].items()
  }


def learnable_texts(record: Mapping[str, Any]) -> list[str]:
  """The texts of a record that LEARNABLE names."""
  texts: list[str] = []
  for name in LEARNABLE:
    part, _, field = name.partition("/")
    held = record.get(part, {field: ()} if field else ())
    texts += held[field] if field else held
  return texts


def question_fields(questions: Iterable[QuestionRow]) -> dict[str, Any]:
  """Fields `questions` and `answers` of a record."""
  questions = list(questions)
  answers = [
    (number, text, count)
    for number, question in enumerate(questions)
    for text, count in question.answers.items()
  ]
  return {
    "questions": {
      "id": [question.id for question in questions],
      "text": [question.text for question in questions],
      "kind": [question.kind for question in questions],
    },
    "answers": {
      "question": np.array([number for number, _, _ in answers], np.int32),
      "text": [text for _, text, _ in answers],
      "count": np.array([count for _, _, count in answers], np.int32),
    },
  }


def statement_fields(statements: Iterable[StatementRow]) -> dict[str, Any]:
  """Field `statements` of a record."""
  statements = list(statements)
  return {
    "statements": {
      "text": [statement.text for statement in statements],
      "true": np.array([statement.true for statement in statements], bool),
      "group": [statement.group for statement in statements],
    }
  }


def image_fields(
  pictures: Iterable[tuple[bytes, tuple[int, int]]],
) -> dict[str, Any]:
  """Field `more_images` of a record, from encoded pictures and their sizes."""
  pictures = list(pictures)
  return {
    "more_images": {
      "image": [data for data, _ in pictures],
      "width": np.array([size[0] for _, size in pictures], np.int32),
      "height": np.array([size[1] for _, size in pictures], np.int32),
    }
  }
