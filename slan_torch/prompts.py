"""Class lists as prompts: "detect: person, bicycle, ..." (section 4.2.6)."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer

from slan_torch.detection import Prompts


def write_prompts(
  names: Sequence[str], tokenizer: Tokenizer, options: Any
) -> Prompts:
  """Writes every class into exactly one prompt, which is never cut.

  Args:
    names: the classes; "_" is read as a space.
    tokenizer: adds [CLS] and [SEP] itself.
    options: opening, separator, prompt_classes (most of a prompt; 0 = as many
      as fit) and max_length (tokens).

  Raises:
    ValueError: no name, an empty one, one that stands twice, or one that is
      longer than a prompt.
  """
  spoken = [" ".join(name.replace("_", " ").split()) for name in names]
  lowered = [name.lower() for name in spoken]
  if not spoken or not all(spoken):
    raise ValueError("labels: expected at least one name, and none empty")
  if twice := {name for name in lowered if lowered.count(name) > 1}:
    raise ValueError(f"labels: {sorted(twice)[0]!r} stands there twice")
  tokenizer = Tokenizer.from_str(tokenizer.to_str())  # neither cuts nor fills
  tokenizer.no_truncation()
  tokenizer.no_padding()
  chunks = _chunks(spoken, tokenizer, options)
  most = max(map(len, chunks))
  length = options.max_length
  ids = torch.full((len(chunks), length), tokenizer.token_to_id("[PAD]"))
  tokens = torch.zeros(len(chunks), most, length, dtype=torch.bool)
  classes = torch.full((len(chunks), most), -1)
  for row, chunk in enumerate(chunks):
    text, spans = options.opening, []
    for place, number in enumerate(chunk):
      text += options.separator if place else ""
      spans.append((len(text), len(text) + len(spoken[number])))
      text += spoken[number]
    encoding = tokenizer.encode(text)
    ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
    for slot, (start, end) in enumerate(spans):
      for token, (low, high) in enumerate(encoding.offsets):
        special = encoding.special_tokens_mask[token]
        tokens[row, slot, token] = low < end and high > start and not special
    classes[row, : len(chunk)] = torch.tensor(chunk)
  mask = ids != tokenizer.token_to_id("[PAD]")
  return Prompts(tuple(names), ids, mask, tokens, classes)


def _chunks(
  spoken: Sequence[str], tokenizer: Tokenizer, options: Any
) -> list[list[int]]:
  """Places of the names of each prompt, as many as fit."""

  def count(text: str) -> int:
    return len(tokenizer.encode(text).ids) - 2  # without [CLS] and [SEP]

  room = options.max_length - 2 - count(options.opening)
  chunks: list[list[int]] = [[]]
  used = 0
  for number, name in enumerate(spoken):
    length = count(name + options.separator)
    if length > room:
      raise ValueError(
        f"labels: {name!r} needs more than the {options.max_length} tokens of "
        "a prompt"
      )
    full = options.prompt_classes and len(chunks[-1]) == options.prompt_classes
    if used + length > room or full:
      chunks.append([])
      used = 0
    chunks[-1].append(number)
    used += length
  return chunks
