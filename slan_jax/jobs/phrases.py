"""The phrases of a user's text: runs of words that are no function words."""

import re
from typing import NamedTuple

import numpy as np

from slan_jax.input.errors import InputError
from slan_jax.input.text import TextEncoder


class Phrase(NamedTuple):
  """Part of a text.

  Attributes:
    text: the words. start, end: characters, end excluded.
    tokens: bool [N].
  """

  text: str
  start: int
  end: int
  tokens: np.ndarray


def find_phrases(
  encoder: TextEncoder, text: str, ids: np.ndarray, wanted: list[str]
) -> list[Phrase]:
  """Phrases to ground.

  Args:
    encoder: made the ids.
    text: of the user.
    ids: int [N].
    wanted: phrases of the text; empty = all runs of content words.

  Returns:
    At least one, in the order of the text or of `wanted`.

  Raises:
    InputError: a wanted phrase is not in the text, or was cut off.
  """
  spans = [_span(text, phrase) for phrase in wanted]
  if not spans:
    spans = _content_runs(encoder, text, ids)
  tokens = encoder.span_tokens(text, spans)
  found = [
    Phrase(text[start:end], start, end, row)
    for (start, end), row in zip(spans, tokens)
    if row.any()
  ]
  if (len(found) < len(spans) and wanted) or not found:
    raise InputError(
      f"--text: {text!r} is longer than the {encoder.max_length} tokens that "
      "the model reads, and a phrase lies behind them"
    )
  return found


def _span(text: str, phrase: str) -> tuple[int, int]:
  start = text.lower().find(phrase.lower())
  if start < 0 or not phrase.strip():
    raise InputError(f"--phrase: {phrase!r} is not part of {text!r}")
  return start, start + len(phrase)


def _content_runs(
  encoder: TextEncoder, text: str, ids: np.ndarray
) -> list[tuple[int, int]]:
  """Spans of neighbouring words that are content, or of all words."""
  words = [match.span() for match in re.finditer(r"\w+", text)]
  functions = np.isin(ids, encoder.function_ids)
  tokens = encoder.span_tokens(text, words)
  content = [bool(row.any() and not functions[row].any()) for row in tokens]
  if not any(content):
    content = [bool(row.any()) for row in tokens]
  runs: list[tuple[int, int]] = []
  for (start, end), good in zip(words, content):
    if not good:
      continue
    if runs and not text[runs[-1][1] : start].strip():
      runs[-1] = runs[-1][0], end
    else:
      runs.append((start, end))
  return runs
