"""Class lists as prompts: "detect: person, bicycle, ..." (section 4.2.6)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from slan_jax.input.errors import InputError
from slan_jax.input.text import TextEncoder


class Style(NamedTuple):
  """How names become a prompt.

  Attributes:
    opening: Before the first name.
    separator: Between names.
    classes: Names per prompt at most; 0 = as many as its length allows.
  """

  opening: str
  separator: str
  classes: int


class Prompts(NamedTuple):
  """One prompt, or several where the names do not fit into one.

  Attributes:
    names: The classes.
    texts: K prompts.
    ids: [K, N] int32, the prompts encoded.
    mask: [K, N] bool, True on real tokens.
    class_tokens: [K, C, N] bool, tokens of each class of each prompt.
    classes: [K, C] int32, row of `names`; -1 = a slot without a class.
  """

  names: tuple[str, ...]
  texts: tuple[str, ...]
  ids: np.ndarray
  mask: np.ndarray
  class_tokens: np.ndarray
  classes: np.ndarray


def make_prompts(
  names: Sequence[str], encoder: TextEncoder, style: Style
) -> Prompts:
  """Writes every class into exactly one prompt that is never cut.

  Args:
    names: The classes; "_" is read as a space.
    encoder: Its length is that of a prompt.
    style: Words between the names.

  Returns:
    The prompts, filled in order.

  Raises:
    InputError: No name, an empty one, one that stands twice (case and spaces
      aside), or one too long for a prompt.
  """
  spoken = [" ".join(name.replace("_", " ").split()) for name in names]
  _check(names, spoken)
  chunks = _chunks(spoken, encoder, style)
  texts, spans = zip(*(_write(spoken, chunk, style) for chunk in chunks))
  encoded = encoder(texts)
  shape = len(chunks), max(map(len, chunks)), encoder.max_length
  class_tokens, classes = np.zeros(shape, bool), np.full(shape[:2], -1)
  for row, (text, chunk) in enumerate(zip(texts, chunks)):
    class_tokens[row, : len(chunk)] = encoder.span_tokens(text, spans[row])
    classes[row, : len(chunk)] = chunk
  return Prompts(
    names=tuple(names),
    texts=texts,
    ids=encoded.ids,
    mask=encoded.mask,
    class_tokens=class_tokens,
    classes=classes.astype(np.int32),
  )


def _check(names: Sequence[str], spoken: Sequence[str]) -> None:
  if not names:
    raise InputError("class list: no class to detect")
  seen: dict[str, str] = {}
  for row, (name, words) in enumerate(zip(names, spoken)):
    if not words:
      raise InputError(f"class list: class {row} has the empty name {name!r}")
    if words.lower() in seen:
      raise InputError(
        f"class list: {name!r} and {seen[words.lower()]!r} are the same words; "
        "a prompt can name them only once: rename or remove one"
      )
    seen[words.lower()] = name


def _chunks(
  spoken: Sequence[str], encoder: TextEncoder, style: Style
) -> list[list[int]]:
  """Rows of the names of each prompt, as many as fit."""
  texts = [style.opening, *(name + style.separator for name in spoken)]
  # Without [CLS] and [SEP]; a text that was cut is longer than any prompt.
  encoded = encoder(texts)
  opening, *lengths = encoded.mask.sum(axis=1) - 2 + encoded.truncated
  room = encoder.max_length - 2 - opening
  chunks: list[list[int]] = [[]]
  used = 0
  for row, length in enumerate(lengths):
    if length > room:
      raise InputError(
        f"class list: {spoken[row]!r} and {style.opening!r} need more than the "
        f"{encoder.max_length} tokens of a prompt; raise detection.max_length"
      )
    if used + length > room or (
      style.classes and len(chunks[-1]) == style.classes
    ):
      chunks.append([])
      used = 0
    chunks[-1].append(row)
    used += length
  return chunks


def _write(
  spoken: Sequence[str], chunk: Sequence[int], style: Style
) -> tuple[str, list[tuple[int, int]]]:
  """A prompt, and the characters of each of its names."""
  text, spans = style.opening, []
  for place, row in enumerate(chunk):
    text += style.separator if place else ""
    spans.append((len(text), len(text) + len(spoken[row])))
    text += spoken[row]
  return text, spans
