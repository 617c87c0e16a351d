"""Training batches in one global order, whatever the number of processes.

The order is that of a `Mixture` of one source or of several. Batch b holds the
positions b B .. (b + 1) B - 1 of it, and each process prepares those rows of
every batch that its devices hold. All choices for a row come from a generator
seeded by its position, so that neither threads nor processes nor a restart
change a single byte.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import grain
import numpy as np

from slan_jax.input.captions import CaptionMaker
from slan_jax.input.config import InputConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.maker import Batch, MakeMaker
from slan_jax.input.mixture import Mixture, Visit

_MOST_BAD = 1000  # records in a row that cannot be used before giving up
_NAMES_KEPT = 5  # first names listed per reason


class _Prepared(NamedTuple):
  batch: Batch
  faults: list[tuple[str, str]]  # reason, name of the record


class _Found(NamedTuple):
  example: Any  # of the task's maker
  place: int  # number of its source
  name: str


class Loader:
  """Iterates over training batches from a position on, without end.

  Attributes:
    position: Global batches consumed so far; a loader started with it goes on
      exactly where this one stands.
    skipped: How many records were replaced or cut, by reason, on this process
      and in the batches consumed; in a mixture by "source: reason". A bad
      record counts at every visit.
    skipped_names: First few names for each reason.
    encoder: The tokenizer.
  """

  def __init__(
    self,
    directory: str | Path,
    config: InputConfig,
    *,
    position: int = 0,
    maker: MakeMaker = CaptionMaker,
  ):
    """Opens the data.

    Args:
      directory: A prepared directory: the source of all records, or, when
        `config.mixture` names sources, of tokenizer and word classes only.
      config: What batches are made of.
      position: Global batches to leave out because they were consumed.
      maker: Makes the rows of the task.

    Raises:
      InputError: The directory, tokenizer or word classes cannot be used.
    """
    self.config = config
    self._maker = maker(directory, config)
    self.encoder = self._maker.encoder
    self.position = position
    self.skipped: Counter[str] = Counter()
    self.skipped_names: dict[str, list[str]] = {}
    self._names, places, weights = zip(
      *(config.mixture or (("", directory, 1.0),))
    )
    self._sources = [self._maker.open(place) for place in places]
    lengths = [len(source) for source in self._sources]
    self._mixture = Mixture(lengths, weights, config.seed)
    cv2.setNumThreads(1)  # threads work on batches, not on parts of a picture
    options = grain.ReadOptions(config.threads, config.prefetch)
    numbers = grain.MapDataset.range(position, sys.maxsize)
    batches = numbers.map(self._prepare).to_iter_dataset(options)
    self._batches = iter(batches)

  def counts(self, position: int, skipped: Mapping[str, int]) -> dict[str, int]:
    """What each source of a mixture gave so far.

    Args:
      position: Global batches counted, from the first on.
      skipped: Records passed over or cut, by "source: reason".

    Returns:
      `seen_NAME`: examples of all processes; `faults_NAME`: of `skipped`. {}
      without a mixture.
    """
    visits = self._mixture.visits(position * self.config.batch_size)
    counts = {}
    for name, seen in zip(self._names, visits):
      if name:
        counts[f"seen_{name}"] = seen
        counts[f"faults_{name}"] = sum(
          count
          for reason, count in skipped.items()
          if reason.startswith(f"{name}: ")
        )
    return counts

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
    size = self.config.batch_size
    rows = self.config.rows or range(size)
    positions = [number * size + row for row in rows]
    found = [self._example(position, faults) for position in positions]
    batch, cut = self._maker.batch([row.example for row in found])
    batch["index"] = np.array(positions, np.int64)
    for row, reason in cut:
      faults.append((self._told(reason, found[row].place), found[row].name))
    return _Prepared(batch, faults)

  def _example(self, position: int, faults: list[tuple[str, str]]) -> _Found:
    """The example at a position, or the next good one of its source."""
    # One generator per position: the same whoever prepares the row.
    rng = random.Random((self.config.seed << 64) + position)
    place, visit = self._mixture.visit(position)
    source = self._sources[place]
    met: Counter[str] = Counter()
    for offset in range(min(_MOST_BAD, len(source))):
      number = self._mixture.record(Visit(place, visit + offset))
      name = f"record {number}"
      try:
        record = source[number]
        name = record.id
        return _Found(self._maker.example(record, rng), place, name)
      except BadRecord as error:
        met[str(error)] += 1
        faults.append((self._told(str(error), place), name))
    raise InputError(
      f"{source.directory}: {met.total()} records in a row of split "
      f"{source.split!r} cannot be used: {dict(met)}"
    )

  def _told(self, reason: str, place: int) -> str:
    """A reason with the source it happened in, where there are several."""
    name = self._names[place]
    return f"{name}: {reason}" if name else reason
