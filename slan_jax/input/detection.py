"""Pictures with boxes of classes: rows to train on, and splits to score."""

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.input import image
from slan_jax.input.classes import Classes, read_classes
from slan_jax.input.config import EvaluationConfig, InputConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.maker import Batch
from slan_jax.input.source import (
  EvaluationRecord,
  EvaluationSource,
  StoredPictures,
)
from slan_jax.input.text import load_encoder
from slan_jax.input.window import boxed_picture, require_still


class ObjectExample(NamedTuple):
  """One augmented picture with its objects.

  Attributes:
    image: [S, S, 3] uint8 RGB.
    image_id: Stable number of the picture.
    boxes: [O', 4] float32 xyxy in [0, 1].
    labels: [O'] int32, rows of the classes.
    lost: Reasons for which objects were left out.
  """

  image: np.ndarray
  image_id: int
  boxes: np.ndarray
  labels: np.ndarray
  lost: list[str]


class ObjectMaker:
  """Makes rows of pictures with objects; see `maker.Maker`."""

  def __init__(
    self,
    directory: str | Path,
    config: InputConfig,
    *,
    boxes: int,
    classes: Classes | None = None,
  ):
    """Opens tokenizer and classes.

    Args:
      directory: A prepared directory.
      config: What batches are made of.
      boxes: O, objects of a picture at most; the largest ones are kept.
      classes: What labels are numbered by; None = those of the directory.

    Raises:
      InputError: The tokenizer or the classes cannot be used, or RandAugment
        is on.
    """
    require_still(config)
    self._config, self._boxes = config, boxes
    self.encoder = load_encoder(config.tokenizer, config.max_length, directory)
    self.classes = classes or read_classes(directory, config.split)
    self._rows = {name: row for row, name in enumerate(self.classes.names)}

  def open(self, directory: str | Path) -> EvaluationSource:
    """Pictures and objects of the training split."""
    return EvaluationSource(directory, self._config.split)

  def example(
    self, record: EvaluationRecord, rng: random.Random
  ) -> ObjectExample:
    """A window of a picture with the objects in it; there may be none.

    Crowds are left out, as DETR leaves them out of training.

    Raises:
      BadRecord: The picture cannot be used.
    """
    picture, boxes, kept, _ = boxed_picture(
      record.record.image, record.record.size, record.boxes, self._config, rng
    )
    known = [name in self._rows for name in record.labels]
    lost = ["unknown class"] * known.count(False)
    kept &= np.array(known, bool) & ~record.crowd
    rows = np.flatnonzero(kept)
    sides = boxes[rows, 2:] - boxes[rows, :2]
    largest = np.argsort(-sides.prod(-1), kind="stable")
    lost += ["too many objects"] * (len(rows) > self._boxes)
    rows = np.sort(rows[largest[: self._boxes]])
    labels = [self._rows[record.labels[row]] for row in rows]
    return ObjectExample(
      picture,
      record.record.image_id,
      boxes[rows],
      np.array(labels, np.int32),
      lost,
    )

  def batch(
    self, examples: Sequence[ObjectExample]
  ) -> tuple[Batch, list[tuple[int, str]]]:
    """The arrays of several rows.

    Returns:
      image uint8 [B, S, S, 3], image_id int32 [B], boxes float32 [B, O, 4]
      xyxy in [0, 1], labels int32 [B, O], -1 = no object. And (row, reason) of
      what had to be cut.
    """
    count = len(examples)
    boxes = np.zeros((count, self._boxes, 4), np.float32)
    labels = np.full((count, self._boxes), -1, np.int32)
    for row, example in enumerate(examples):
      boxes[row, : len(example.boxes)] = example.boxes
      labels[row, : len(example.labels)] = example.labels
    batch = {
      "image": np.stack([example.image for example in examples]),
      "image_id": np.array([e.image_id for e in examples], np.int32),
      "boxes": boxes,
      "labels": labels,
    }
    cut = [(row, why) for row, e in enumerate(examples) for why in e.lost]
    return batch, cut


class Objects(NamedTuple):
  """What is annotated in one picture.

  Attributes:
    boxes: [O, 4] float32 xyxy in [0, 1].
    labels: [O] int32, rows of the classes.
    crowd: [O] bool: the box holds a crowd.
    areas: [O] float32, pixels that each object covers; 0 = not known.
  """

  boxes: np.ndarray
  labels: np.ndarray
  crowd: np.ndarray
  areas: np.ndarray


@dataclasses.dataclass(frozen=True)
class DetectionSplit:
  """Pictures in stored order, those without an object among them.

  Attributes:
    ids: Name of each picture.
    image_ids: [I] int64, number of each in result files: its name where that
      is a number, as COCO's are, else the stable number of the record.
    sizes: [I, 2] int32, width and height in pixels.
    images: The pictures, indexed by rows.
    objects: What is annotated in each.
    classes: What the labels are rows of.
    skipped: Records and objects left out, by reason.
  """

  ids: list[str]
  image_ids: np.ndarray
  sizes: np.ndarray
  images: image.Pictures
  objects: list[Objects]
  classes: Classes
  skipped: Counter[str]


def detection_split(
  directory: str | Path,
  split: str,
  config: EvaluationConfig,
  *,
  classes: Classes | None = None,
  limit: int | None = None,
) -> DetectionSplit:
  """Reads pictures with their objects; those of a test split may have none.

  Args:
    directory: A prepared directory.
    split: Name of the split.
    config: Sizes.
    classes: What labels are numbered by; None = those of the directory.
    limit: Records at most, the first ones; None = every one.

  Returns:
    The pictures; those that cannot be used are left out and counted.

  Raises:
    InputError: The data cannot be opened, no picture is left, all objects are
      of other classes, or two pictures have one number.
  """
  source = EvaluationSource(directory, split)
  classes = classes or read_classes(directory, split)
  rows = {name: row for row, name in enumerate(classes.names)}
  ids, numbers, sizes, places, objects = [], [], [], [], []
  skipped: Counter[str] = Counter()
  for number in range(min(limit or len(source), len(source))):
    try:
      record = source[number]
      image.decode(record.record.image)
    except BadRecord as error:
      skipped[str(error)] += 1
      continue
    known = np.array([name in rows for name in record.labels], bool)
    skipped["unknown class"] += int((~known).sum())
    labels = [rows[name] for name in record.labels if name in rows]
    ids.append(record.record.id)
    numbers.append(_number(record))
    sizes.append(record.record.size)
    places.append(number)
    objects.append(
      Objects(
        record.boxes[known],
        np.array(labels, np.int32),
        record.crowd[known],
        record.areas[known],
      )
    )
  if not ids:
    raise InputError(f"{directory}: split {split!r} has no usable picture")
  others = skipped["unknown class"]
  if others and not any(len(held.labels) for held in objects):
    raise InputError(
      f"{directory}: split {split!r} has no object to find: its {others} "
      f"objects are of none of the {len(classes.names)} classes asked for, "
      f"such as {classes.names[0]!r}"
    )
  if len({*numbers}) < len(numbers):
    raise InputError(
      f"{directory}: two pictures of split {split!r} have the same number; "
      "result files could not tell them apart: give them other ids"
    )
  return DetectionSplit(
    ids=ids,
    image_ids=np.array(numbers, np.int64),
    sizes=np.array(sizes, np.int32),
    images=image.Pictures(StoredPictures(source, places), config.image_size),
    objects=objects,
    classes=classes,
    skipped=+skipped,
  )


def _number(record: EvaluationRecord) -> int:
  name = record.record.id
  if name.isascii() and name.isdigit() and int(name) < 2**53:
    return int(name)
  return record.record.image_id
