"""Statements about pairs of pictures: rows to train on, splits to score."""

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.input import augment, crop, image
from slan_jax.input.config import EvaluationConfig, InputConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.maker import Batch
from slan_jax.input.parts import PartRecord, PartSource, Statement
from slan_jax.input.source import StoredPictures
from slan_jax.input.text import TextEncoder, load_encoder
from slan_jax.input.words import mirror_directions

_NEEDS = ("statements", "more_images")


class PairExample(NamedTuple):
  """Two augmented pictures with a statement.

  Attributes:
    images: [2, S, S, 3] uint8 RGB, left and right.
    image_id: Stable number of the record.
    statement: Its words, mirrored with the pictures.
    true: Whether it is true of them.
  """

  images: np.ndarray
  image_id: int
  statement: str
  true: bool


class PairMaker:
  """Makes rows of statements about pairs; see `maker.Maker`."""

  def __init__(self, directory: str | Path, config: InputConfig):
    """Opens the tokenizer.

    Args:
      directory: A prepared directory.
      config: What batches are made of; `caption` chooses the statement.

    Raises:
      InputError: The tokenizer cannot be used.
    """
    self._config = config
    self.encoder = load_encoder(config.tokenizer, config.max_length, directory)

  def open(self, directory: str | Path) -> PartSource:
    """Pairs and statements of the training split."""
    return PartSource(directory, self._config.split, _NEEDS)

  def example(self, record: PartRecord, rng: random.Random) -> PairExample:
    """A pair with one of its statements.

    A flip mirrors the whole: the pictures change sides and are mirrored each,
    so that "left" and "right" change places in the statement, whether they
    name a picture or a direction within one.

    Raises:
      BadRecord: There is no statement, not a pair, or a picture that cannot be
        used.
    """
    config, told = self._config, usable_pair(record)
    drawn = int(rng.random() * len(told))
    statement = told[drawn if config.caption == "random" else 0]
    sides = [
      crop.decode_crop(
        data,
        size,
        config.image_size,
        config.crop_scale,
        rng,
        reduced=config.reduced_decode,
      )
      for data, size in record.pictures
    ]
    text = statement.text
    if config.flip and rng.random() < 0.5:
      sides = [augment.flip(picture) for picture in sides[::-1]]
      text = mirror_directions(text)
    sides = [
      augment.rand_augment(side, *config.randaugment, rng) for side in sides
    ]
    number = record.record.image_id
    return PairExample(np.stack(sides), number, text, statement.true)

  def batch(
    self, examples: Sequence[PairExample]
  ) -> tuple[Batch, list[tuple[int, str]]]:
    """The arrays of several rows.

    Returns:
      image uint8 [B, 2, S, S, 3], image_id int32 [B], text int32 [B, N] and
      text_mask bool, label int32 [B], 1 = true. And (row, reason) of what had
      to be cut.
    """
    texts = self.encoder([example.statement for example in examples])
    batch = {
      "image": np.stack([example.images for example in examples]),
      "image_id": np.array([e.image_id for e in examples], np.int32),
      "text": texts.ids,
      "text_mask": texts.mask,
      "label": np.array([example.true for example in examples], np.int32),
    }
    cut = [(int(row), "truncated") for row in np.flatnonzero(texts.truncated)]
    return batch, cut


def usable_pair(record: PartRecord) -> list[Statement]:
  """The statements of a record that is a pair.

  Raises:
    BadRecord: There is none, or it does not have two pictures.
  """
  told = [s for s in record.statements if s.text.strip()]
  if not told:
    raise BadRecord("empty statement")
  if len(record.more) != 1:
    raise BadRecord("not a pair of pictures")
  return told


@dataclasses.dataclass(frozen=True)
class PairSplit:
  """Statements in stored order.

  Attributes:
    statements: Words, truth and group of each.
    ids: Name of the record of each.
    left: The left pictures, indexed by rows of statements.
    right: The right pictures, likewise.
    labels: [P] int32, 1 = true.
    tokens: [P, N] int32, the statements encoded.
    mask: [P, N] bool, True on real tokens.
    skipped: Records left out, by reason.
    encoder: The tokenizer.
  """

  statements: list[Statement]
  ids: list[str]
  left: image.Pictures
  right: image.Pictures
  labels: np.ndarray
  tokens: np.ndarray
  mask: np.ndarray
  skipped: Counter[str]
  encoder: TextEncoder


def pair_split(
  directory: str | Path,
  split: str,
  config: EvaluationConfig,
  *,
  limit: int | None = None,
) -> PairSplit:
  """Reads statements about pairs.

  Args:
    directory: A prepared directory.
    split: Name of the split.
    config: Sizes.
    limit: Records at most, the first ones; None = every one.

  Returns:
    The statements. A pair that cannot be used is left out and counted.

  Raises:
    InputError: The data cannot be opened, or nothing is left.
  """
  source = PartSource(directory, split, _NEEDS)
  encoder = load_encoder(config.tokenizer, config.max_length, directory)
  statements, ids, places = [], [], []
  skipped: Counter[str] = Counter()
  for number in range(min(limit or len(source), len(source))):
    try:
      record = source[number]
      told = usable_pair(record)
      for data, _ in record.pictures:
        image.decode(data)
    except BadRecord as error:
      skipped[str(error)] += 1
      continue
    statements += told
    ids += [record.id] * len(told)
    places += [number] * len(told)
  if not statements:
    raise InputError(f"{directory}: split {split!r} has no usable statement")
  tokens = encoder([statement.text for statement in statements])
  left, right = (
    image.Pictures(StoredPictures(source, places, field), config.image_size)
    for field in ("image", "more_images/image")
  )
  return PairSplit(
    statements=statements,
    ids=ids,
    left=left,
    right=right,
    labels=np.array([statement.true for statement in statements], np.int32),
    tokens=tokens.ids,
    mask=tokens.mask,
    skipped=skipped,
    encoder=encoder,
  )
