"""The list of answers that questions are answered from by ranking."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.input.errors import InputError
from slan_jax.input.text import TextEncoder

ANSWERS = "answers.json"


class AnswerList(NamedTuple):
  """Answers as the text decoder reads them.

  Attributes:
    texts: The answers, each of other tokens.
    ids: [C, M] int32, [CLS] answer [SEP] [PAD].
    mask: [C, M] bool, True on real tokens.
    merged: Answers left out, for an earlier one has their tokens.
    cut: Answers of which only the first tokens are read.
  """

  texts: list[str]
  ids: np.ndarray
  mask: np.ndarray
  merged: int
  cut: int


def read_answers(directory: str | Path) -> list[str]:
  """The answers to rank, as preparation took them from training.

  Args:
    directory: A prepared directory.

  Returns:
    Distinct answers, most frequent first.

  Raises:
    InputError: The list is missing, is none, or holds an answer twice.
  """
  path = Path(directory) / ANSWERS
  try:
    answers = json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise InputError(
      f"{path}: {error}; it lists the answers to rank, and is made with the "
      "data where there is a split train: copy it from there, or set "
      "vqa.inference=generate"
    ) from error
  if not isinstance(answers, list) or not all(
    isinstance(answer, str) and answer.strip() for answer in answers
  ):
    raise InputError(f"{path}: expected a list of texts")
  twice = [answer for answer, n in Counter(answers).items() if n > 1]
  if twice or not answers:
    what = f"holds {twice[0]!r} twice" if twice else "holds no answer"
    raise InputError(f"{path} {what}; prepare the data again")
  return answers


def encode_answers(answers: Sequence[str], encoder: TextEncoder) -> AnswerList:
  """Encodes a list of answers, those of the same tokens once.

  Unknown words read alike, and so do answers that differ beyond the fixed
  length: nothing could rank them, so the first, the most frequent one, stands
  for all.

  Args:
    answers: At least one.
    encoder: Its length is that of an answer.
  """
  encoded = encoder(answers)
  _, first = np.unique(encoded.ids, axis=0, return_index=True)
  kept = np.sort(first)
  return AnswerList(
    texts=[answers[row] for row in kept],
    ids=encoded.ids[kept],
    mask=encoded.mask[kept],
    merged=len(answers) - len(kept),
    cut=int(encoded.truncated[kept].sum()),
  )
