"""What a task asks of a `Loader`: how its rows are read, made and joined."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slan_jax.input.config import InputConfig
from slan_jax.input.text import TextEncoder

Batch = dict[str, np.ndarray]


class Source(Protocol):
  """Records of one split by number; reading one may raise `BadRecord`."""

  directory: Path
  split: str

  def __len__(self) -> int: ...

  def __getitem__(self, number: int) -> Any:
    """A record with the attribute `id`."""


class Maker(Protocol):
  """Makes the rows of one task. Its methods run in several threads at once.

  Attributes:
    encoder: The tokenizer.
  """

  encoder: TextEncoder

  def open(self, directory: str | Path) -> Source:
    """The records of the training split of one directory.

    Raises:
      InputError: The directory cannot be used, or lacks what the task needs.
    """

  def example(self, record: Any, rng: random.Random) -> Any:
    """One row, before it is joined with others.

    Args:
      record: Of a source.
      rng: Source of every choice, one per position of the global order.

    Raises:
      BadRecord: The record cannot be used.
    """

  def batch(
    self, examples: Sequence[Any]
  ) -> tuple[Batch, list[tuple[int, str]]]:
    """The arrays of several rows.

    Args:
      examples: As `example` makes them.

    Returns:
      The arrays that the task's `batch_spec` names, of these rows alone, and
      (row, reason) of what had to be cut.
    """


# (prepared directory, configuration) -> maker; raises InputError.
MakeMaker = Callable[[str | Path, InputConfig], Maker]
