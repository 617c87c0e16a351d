"""Evaluation of counterfactuals: two captions of a picture, one phrase each.

Preparation writes them beside the records, to counterfactuals.json: per split a
list of objects with `record`, its number in the split, `id`, `kind`, what
changes, and for both captions `captions`, `spans` of the phrase in characters
and `boxes`, xyxy in [0, 1].
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slan_jax.input import image
from slan_jax.input.config import EvaluationConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.grounding import (
  GroundingExample,
  GroundingSplit,
  grounded,
  make_split,
)
from slan_jax.input.source import EvaluationSource, Phrase
from slan_jax.input.text import load_encoder

FILE = "counterfactuals.json"


class CounterfactualSplit(NamedTuple):
  """Pairs in stored order.

  Attributes:
    split: Two examples per pair, one after the other, of one phrase with one
      box each.
    kinds: What changes in each pair.
  """

  split: GroundingSplit
  kinds: list[str]


class _Pair(NamedTuple):
  record: int
  id: str
  kind: str
  captions: list[str]
  spans: np.ndarray  # [2, 2] int
  boxes: np.ndarray  # [2, 4] float32


def counterfactual_split(
  directory: str | Path, split: str, config: EvaluationConfig, *, limit: int
) -> CounterfactualSplit | None:
  """Reads the counterfactual pairs of a split.

  Args:
    directory: A prepared directory.
    split: Name of the split.
    config: Sizes.
    limit: Pairs at most, the first ones.

  Returns:
    The pairs, or None where the data set has none. A pair whose record cannot
    be used is left out and counted.

  Raises:
    InputError: The data cannot be opened, or the file of pairs is damaged or
      belongs to other records.
  """
  path = Path(directory) / FILE
  source = EvaluationSource(directory, split)
  encoder = load_encoder(config.tokenizer, config.max_length, directory)
  examples: list[GroundingExample] = []
  kinds, encoded, owners, spans = [], [], [], []
  skipped: Counter[str] = Counter()
  for pair in _read(path, split)[:limit]:
    try:
      record, _, _, objects, *_ = source[pair.record]
      image.decode(record.image)
    except BadRecord as error:
      skipped[str(error)] += 1
      continue
    if record.id != pair.id:
      raise InputError(
        f"{path}: record {pair.record} of {split!r} is {record.id!r}, not "
        f"{pair.id!r}; prepare the data again"
      )
    kinds.append(pair.kind)
    for caption, span, box in zip(pair.captions, pair.spans, pair.boxes):
      text = caption[slice(*span)]
      phrase = grounded(Phrase(text, 0, tuple(span), box[None]), len(objects))
      examples.append(GroundingExample(record.id, caption, [phrase]))
      spans.append(encoder.span_tokens(caption, [span]))
      owners.append(len(encoded))
    encoded.append(record.image)
  if not examples:
    return None
  pictures = image.Pictures(encoded, config.image_size)
  made = make_split(examples, pictures, owners, spans, skipped, encoder)
  return CounterfactualSplit(made, kinds)


def _read(path: Path, split: str) -> list[_Pair]:
  if not path.is_file():
    return []
  try:
    rows = json.loads(path.read_text("utf-8")).get(split, [])
    return [_pair(row) for row in rows]
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise InputError(
      f"{path} is damaged ({error!r}); prepare the data again"
    ) from error


def _pair(row: dict[str, Any]) -> _Pair:
  return _Pair(
    record=int(row["record"]),
    id=str(row["id"]),
    kind=str(row["kind"]),
    captions=[str(caption) for caption in row["captions"]],
    spans=np.array(row["spans"], int).reshape(2, 2),
    boxes=np.array(row["boxes"], np.float32).reshape(2, 4),
  )
