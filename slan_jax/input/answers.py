"""The list of answers that questions are answered from by ranking."""

import json
from collections import Counter
from pathlib import Path

from slan_jax.input.errors import InputError

ANSWERS = "answers.json"


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
      "data where there is a split train"
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
