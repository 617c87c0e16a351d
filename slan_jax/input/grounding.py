"""Evaluation of grounding: captions whose noun phrases have boxes."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.input import image
from slan_jax.input.config import EvaluationConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.source import EvaluationSource, Phrase, StoredPictures
from slan_jax.input.text import TextEncoder, load_encoder

# Side of a square of the same area, fraction of the image: in between the
# small and the large objects of the scenes.
_LARGE = 0.25
NO_BOX = "phrase without box"  # reason for which phrases are left out


class GroundedPhrase(NamedTuple):
  """A phrase to be found, for the host only.

  Attributes:
    text: The phrase.
    boxes: [M, 4] float32 xyxy in [0, 1]; any of them is right.
    size: "small" or "large", by the mean area of its boxes.
    objects: Number of objects in the picture.
    kinds: What sorts of thing it names; () = not known.
  """

  text: str
  boxes: np.ndarray
  size: str
  objects: int
  kinds: tuple[str, ...] = ()


class GroundingExample(NamedTuple):
  """One caption of one picture with its phrases."""

  id: str
  caption: str
  phrases: list[GroundedPhrase]


@dataclasses.dataclass(frozen=True)
class GroundingSplit:
  """Examples in stored order.

  Attributes:
    examples: One per caption that has phrases with boxes.
    images: Their pictures, each once, indexed by rows.
    image: [E] int, the row of each example's picture.
    tokens: [E, N] int32, the captions encoded.
    mask: [E, N] bool, True on real tokens.
    phrase_tokens: [E, P, N] bool, tokens of each phrase; P is the largest
      number of phrases of a caption. A phrase beyond the text's length has
      none: it cannot be found, and counts.
    skipped: Records and phrases left out, by reason.
    encoder: The tokenizer.
  """

  examples: list[GroundingExample]
  images: image.Pictures
  image: np.ndarray
  tokens: np.ndarray
  mask: np.ndarray
  phrase_tokens: np.ndarray
  skipped: Counter[str]
  encoder: TextEncoder


def grounding_split(
  directory: str | Path,
  split: str,
  config: EvaluationConfig,
  *,
  limit: int | None = None,
) -> GroundingSplit:
  """Reads the captions whose phrases have boxes.

  Args:
    directory: A prepared directory.
    split: Name of the split.
    config: Sizes.
    limit: Records at most, the first ones; None = every one.

  Returns:
    The examples. Phrases without a box are left out and counted.

  Raises:
    InputError: The data cannot be opened, or no phrase has a box.
  """
  source = EvaluationSource(directory, split)
  encoder = load_encoder(config.tokenizer, config.max_length, directory)
  examples: list[GroundingExample] = []
  places, owners, spans = [], [], []
  skipped: Counter[str] = Counter()
  for number in range(min(limit or len(source), len(source))):
    try:
      record, phrases, _, boxes, *_ = source[number]
      image.decode(record.image)
    except BadRecord as error:
      skipped[str(error)] += 1
      continue
    before = len(examples)
    for place, caption in enumerate(record.captions):
      named = [phrase for phrase in phrases if phrase.caption == place]
      boxed = [phrase for phrase in named if len(phrase.boxes)]
      skipped[NO_BOX] += len(named) - len(boxed)
      if boxed:
        tokens = encoder.span_tokens(caption, [p.span for p in boxed])
        named = [grounded(phrase, len(boxes)) for phrase in boxed]
        examples.append(GroundingExample(record.id, caption, named))
        owners.append(len(places))
        spans.append(tokens)
    if len(examples) > before:
      places.append(number)
  if not examples:
    raise InputError(f"{directory}: split {split!r} has no phrases with boxes")
  pictures = image.Pictures(StoredPictures(source, places), config.image_size)
  return make_split(examples, pictures, owners, spans, +skipped, encoder)


def make_split(
  examples: list[GroundingExample],
  images: image.Pictures,
  owners: list[int],
  spans: list[np.ndarray],
  skipped: Counter[str],
  encoder: TextEncoder,
) -> GroundingSplit:
  """The split of some examples.

  Args:
    examples: At least one.
    images: Their pictures, each once.
    owners: The row of each example's picture.
    spans: [P', N] bool of each, the tokens of its phrases.
    skipped: What was left out.
    encoder: The tokenizer.

  Returns:
    The split, its captions encoded.
  """
  texts = encoder([example.caption for example in examples])
  return GroundingSplit(
    examples=examples,
    images=images,
    image=np.array(owners),
    tokens=texts.ids,
    mask=texts.mask,
    phrase_tokens=_stacked(spans),
    skipped=skipped,
    encoder=encoder,
  )


def _stacked(spans: list[np.ndarray]) -> np.ndarray:
  """[P', N] of each example to [E, P, N]; rows without a phrase stay False."""
  most = max(len(rows) for rows in spans)
  stacked = np.zeros((len(spans), most, spans[0].shape[1]), bool)
  for place, rows in enumerate(spans):
    stacked[place, : len(rows)] = rows
  return stacked


def grounded(phrase: Phrase, objects: int) -> GroundedPhrase:
  """A phrase with the class of its size."""
  sides = phrase.boxes[:, 2:] - phrase.boxes[:, :2]
  large = np.sqrt(sides.prod(-1).mean()) >= _LARGE
  return GroundedPhrase(
    text=phrase.text,
    boxes=phrase.boxes,
    size="large" if large else "small",
    objects=objects,
    kinds=phrase.kinds,
  )
