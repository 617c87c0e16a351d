"""Captions whose phrases have boxes: rows to fine-tune grounding on."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.input.config import InputConfig
from slan_jax.input.errors import BadRecord
from slan_jax.input.maker import Batch
from slan_jax.input.source import EvaluationRecord, EvaluationSource
from slan_jax.input.text import load_encoder
from slan_jax.input.window import boxed_picture, require_still
from slan_jax.input.words import mirror_directions


class PhraseExample(NamedTuple):
  """One augmented picture with a caption and where its phrases are.

  Attributes:
    image: [S, S, 3] uint8 RGB.
    image_id: Stable number of the picture.
    caption: The caption, mirrored with the picture.
    spans: First and last + 1 character of each phrase.
    boxes: [M', 4] float32 xyxy in [0, 1] of each phrase; M' is at least 1.
  """

  image: np.ndarray
  image_id: int
  caption: str
  spans: list[tuple[int, int]]
  boxes: list[np.ndarray]


class PhraseMaker:
  """Makes rows of grounded captions; see `maker.Maker`."""

  def __init__(
    self,
    directory: str | Path,
    config: InputConfig,
    *,
    phrases: int,
    boxes: int,
  ):
    """Opens the tokenizer.

    Args:
      directory: A prepared directory.
      config: What batches are made of.
      phrases: P, phrases of a caption at most, the first ones.
      boxes: M, boxes of a phrase at most, the largest ones.

    Raises:
      InputError: The tokenizer cannot be used, or RandAugment is on.
    """
    require_still(config)
    self._config, self._phrases, self._boxes = config, phrases, boxes
    self.encoder = load_encoder(config.tokenizer, config.max_length, directory)

  def open(self, directory: str | Path) -> EvaluationSource:
    """Pictures, captions and phrases of the training split."""
    return EvaluationSource(directory, self._config.split)

  def example(
    self, record: EvaluationRecord, rng: random.Random
  ) -> PhraseExample:
    """A caption with those of its phrases that are in the window.

    Raises:
      BadRecord: No caption has a phrase with a box, none of them is in the
        window, or the picture cannot be used.
    """
    boxed = [phrase for phrase in record.phrases if len(phrase.boxes)]
    numbers = sorted({phrase.caption for phrase in boxed})
    if not numbers:
      raise BadRecord("no phrase with a box")
    drawn = int(rng.random() * len(numbers))
    number = numbers[drawn if self._config.caption == "random" else 0]
    told = [phrase for phrase in boxed if phrase.caption == number]
    owners = np.repeat(np.arange(len(told)), [len(p.boxes) for p in told])
    picture, boxes, kept, flipped = boxed_picture(
      record.record.image,
      record.record.size,
      np.concatenate([phrase.boxes for phrase in told]),
      self._config,
      rng,
    )
    if not kept.any():
      raise BadRecord("no phrase in the crop")
    caption, spans, found = record.record.captions[number], [], []
    for place, phrase in enumerate(told):
      own = boxes[kept & (owners == place)]
      if len(own):
        spans.append(
          _mirrored(caption, phrase.span) if flipped else phrase.span
        )
        found.append(own)
    caption = mirror_directions(caption) if flipped else caption
    return PhraseExample(picture, record.record.image_id, caption, spans, found)

  def batch(
    self, examples: Sequence[PhraseExample]
  ) -> tuple[Batch, list[tuple[int, str]]]:
    """The arrays of several rows.

    Returns:
      image uint8 [B, S, S, 3], image_id int32 [B], text int32 [B, N] and
      text_mask bool, phrase_tokens bool [B, P, N], boxes float32 [B, P, M, 4]
      xyxy in [0, 1] and box_mask bool [B, P, M]. A phrase beyond the text's
      length has neither tokens nor boxes. And (row, reason) of what had to be
      cut.
    """
    count, most = len(examples), self._phrases
    texts = self.encoder([example.caption for example in examples])
    tokens = np.zeros((count, most, self.encoder.max_length), bool)
    boxes = np.zeros((count, most, self._boxes, 4), np.float32)
    mask = np.zeros((count, most, self._boxes), bool)
    cut = [(int(row), "truncated") for row in np.flatnonzero(texts.truncated)]
    for row, example in enumerate(examples):
      spans = example.spans[:most]
      found = self.encoder.span_tokens(example.caption, spans)
      tokens[row, : len(spans)] = found
      for place in np.flatnonzero(found.any(-1)):
        own = _largest(example.boxes[place], self._boxes)
        boxes[row, place, : len(own)] = own
        mask[row, place, : len(own)] = True
        if len(own) < len(example.boxes[place]):
          cut.append((row, "too many boxes"))
      if len(spans) < len(example.spans):
        cut.append((row, "too many phrases"))
    batch = {
      "image": np.stack([example.image for example in examples]),
      "image_id": np.array([e.image_id for e in examples], np.int32),
      "text": texts.ids,
      "text_mask": texts.mask,
      "phrase_tokens": tokens,
      "boxes": boxes,
      "box_mask": mask,
    }
    return batch, cut


def _mirrored(caption: str, span: tuple[int, int]) -> tuple[int, int]:
  """Where a phrase stands once "left" and "right" have changed places."""
  start, end = (len(mirror_directions(caption[:place])) for place in span)
  return start, end


def _largest(boxes: np.ndarray, count: int) -> np.ndarray:
  areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
  return boxes[np.sort(np.argsort(-areas, kind="stable")[:count])]
