"""Training batches in one global order, whatever the number of processes.

The order is a fresh seeded shuffle of the records for each epoch. Batch b holds
the positions b B .. (b + 1) B - 1 of it, and process p prepares its own rows of
every batch. All choices for a row come from a generator seeded by its position,
so that neither threads nor processes nor a restart change a single byte.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np

from slan_jax.input.config import InputConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.records import Example, training_example
from slan_jax.input.source import TrainingSource
from slan_jax.input.text import load_encoder, text_id
from slan_jax.input.words import WordSwapper, load_word_classes

Batch = dict[str, np.ndarray]
_MOST_BAD = 1000  # records in a row that cannot be used before giving up
_NAMES_KEPT = 5  # first names listed per reason


class _Prepared(NamedTuple):
  batch: Batch
  faults: list[tuple[str, str]]  # reason, name of the record


class Loader:
  """Iterates over training batches from a position on, without end.

  Attributes:
    position: Global batches consumed so far; a loader started with it goes on
      exactly where this one stands.
    skipped: How many records were replaced or cut, by reason, on this process
      and in the batches consumed. A bad record counts at every visit.
    skipped_names: First few names for each reason.
    encoder: The tokenizer.
  """

  def __init__(
    self, directory: str | Path, config: InputConfig, *, position: int = 0
  ):
    """Opens the data.

    Args:
      directory: A prepared directory.
      config: What batches are made of.
      position: Global batches to leave out because they were consumed.

    Raises:
      InputError: The directory, tokenizer or word classes cannot be used.
    """
    self.config = config
    self.encoder = load_encoder(config.tokenizer, config.max_length, directory)
    self.position = position
    self.skipped: Counter[str] = Counter()
    self.skipped_names: dict[str, list[str]] = {}
    self._source = TrainingSource(directory, config.split)
    classes = load_word_classes(config.word_classes, directory)
    self._swapper = WordSwapper(classes)
    order = grain.MapDataset.range(len(self._source)).seed(config.seed)
    self._order = order.shuffle().repeat()
    options = grain.ReadOptions(config.threads, config.prefetch)
    numbers = grain.MapDataset.range(position, sys.maxsize)
    batches = numbers.map(self._prepare).to_iter_dataset(options)
    self._batches = iter(batches)

  @property
  def records(self) -> int:
    """Number of records in the split."""
    return len(self._source)

  @property
  def epoch(self) -> float:
    """Visits to each record so far."""
    return self.position * self.config.batch_size / self.records

  def __iter__(self) -> Iterator[Batch]:
    return self

  def __next__(self) -> Batch:
    """This process's rows of the next global batch."""
    prepared = next(self._batches)
    self.position += 1
    for reason, name in prepared.faults:
      self.skipped[reason] += 1
      names = self.skipped_names.setdefault(reason, [])
      if len(names) < _NAMES_KEPT and name not in names:
        names.append(name)
    return prepared.batch

  def close(self) -> None:
    """Stops the threads."""
    self._batches.close()

  def _prepare(self, number: int) -> _Prepared:
    faults: list[tuple[str, str]] = []
    rows = self.config.batch_size // self.config.process_count
    first = number * self.config.batch_size + self.config.process_index * rows
    positions = range(first, first + rows)
    found = [self._example(position, faults) for position in positions]
    examples = [example for example, _ in found]
    batch = {
      "image": np.stack([example.image for example in examples]),
      "image_id": np.array([e.image_id for e in examples], np.int32),
      "text_id": np.array([text_id(e.caption) for e in examples], np.int32),
      "index": np.array(positions, np.int64),
    }
    truncated = self._add_texts(batch, examples)
    faults += [("truncated", found[row][1]) for row in truncated]
    return _Prepared(batch, faults)

  def _example(
    self, position: int, faults: list[tuple[str, str]]
  ) -> tuple[Example, str]:
    """The example at a position, or the next good one of the global order."""
    # One generator per position: the same whoever prepares the row.
    rng = random.Random((self.config.seed << 64) + position)
    for offset in range(min(_MOST_BAD, len(self._source))):
      number = self._order[position + offset]
      name = f"record {number}"
      try:
        record = self._source[number]
        name = record.id
        example = training_example(record, self.config, self._swapper, rng)
        return example, name
      except BadRecord as error:
        faults.append((str(error), name))
    reasons = dict(Counter(reason for reason, _ in faults))
    raise InputError(
      f"{self._source.directory}: {offset + 1} records in a row of split "
      f"{self._source.split!r} cannot be used: {reasons}"
    )

  def _add_texts(self, batch: Batch, examples: list[Example]) -> list[int]:
    """Adds token arrays; returns the rows whose caption was cut."""
    count, most = len(examples), self.config.hard_negatives
    texts = [example.caption for example in examples]
    for example in examples:
      texts += example.negatives
    encoded = self.encoder(texts)
    batch["text"], batch["text_mask"] = (
      encoded.ids[:count],
      encoded.mask[:count],
    )
    shape = (count, most, self.config.max_length)
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
