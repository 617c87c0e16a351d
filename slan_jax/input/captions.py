"""Rows of pictures with captions: pre-training and fine-tuned retrieval."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slan_jax.input.config import InputConfig
from slan_jax.input.maker import Batch
from slan_jax.input.records import Example, training_example
from slan_jax.input.source import TrainingRecord, TrainingSource
from slan_jax.input.text import load_encoder, text_id
from slan_jax.input.words import WordSwapper, load_word_classes


class CaptionMaker:
  """A `Maker` of pictures, captions and captions that are almost right."""

  def __init__(
    self, directory: str | Path, config: InputConfig, *, prompt: str = ""
  ):
    """Opens tokenizer and word classes.

    Args:
      directory: A prepared directory.
      config: What batches are made of.
      prompt: Begins every caption.

    Raises:
      InputError: Tokenizer or word classes cannot be used.
    """
    self._config = config
    self._prompt = f"{prompt} " if prompt else ""
    self.encoder = load_encoder(config.tokenizer, config.max_length, directory)
    classes = load_word_classes(config.word_classes, directory)
    self._swapper = WordSwapper(classes)

  def open(self, directory: str | Path) -> TrainingSource:
    """Pictures and captions of the training split."""
    return TrainingSource(directory, self._config.split)

  def example(self, record: TrainingRecord, rng: random.Random) -> Example:
    """See `training_example`."""
    return training_example(record, self._config, self._swapper, rng)

  def batch(
    self, examples: Sequence[Example]
  ) -> tuple[Batch, list[tuple[int, str]]]:
    """Pictures, tokens and ids; see `Maker.batch`."""
    batch = {
      "image": np.stack([example.image for example in examples]),
      "image_id": np.array([e.image_id for e in examples], np.int32),
      "text_id": np.array([text_id(e.caption) for e in examples], np.int32),
    }
    cut = self._add_texts(batch, examples)
    return batch, [(row, "truncated") for row in cut]

  def _add_texts(self, batch: Batch, examples: Sequence[Example]) -> list[int]:
    """Adds token arrays; returns the rows whose caption was cut."""
    count, most = len(examples), self._config.hard_negatives
    texts = [self._prompt + example.caption for example in examples]
    for example in examples:
      texts += example.negatives
    encoded = self.encoder(texts)
    batch["text"], batch["text_mask"] = (
      encoded.ids[:count],
      encoded.mask[:count],
    )
    shape = (count, most, self._config.max_length)
    negatives = np.full(shape, self.encoder.pad_id, np.int32)
    mask = np.zeros(shape, bool)
    places = [
      (row, slot)
      for row, example in enumerate(examples)
      for slot in range(len(example.negatives))
    ]
    if places:
      rows, slots = np.array(places).T
      negatives[rows, slots] = encoded.ids[count:]
      mask[rows, slots] = encoded.mask[count:]
    # Cut at the same length, a swap beyond the cut leaves the caption itself.
    same = (negatives == batch["text"][:, None]).all(-1)
    mask &= ~same[..., None]
    batch["negatives"], batch["negatives_mask"] = negatives, mask
    return np.flatnonzero(encoded.truncated[:count]).tolist()
