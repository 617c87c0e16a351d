"""From a stored record to one training example, before tokenisation."""

import random
from typing import NamedTuple

import numpy as np

from slan_jax.input import augment, crop
from slan_jax.input.config import InputConfig
from slan_jax.input.errors import BadRecord
from slan_jax.input.source import TrainingRecord
from slan_jax.input.words import WordSwapper, mirror_directions


class Example(NamedTuple):
  """One augmented picture with its caption.

  Attributes:
    image: [S, S, 3] uint8 RGB.
    image_id: Stable number of the picture.
    caption: One of its captions, mirrored with the picture.
    negatives: Up to H captions that are almost right.
  """

  image: np.ndarray
  image_id: int
  caption: str
  negatives: list[str]


def training_example(
  record: TrainingRecord,
  config: InputConfig,
  swapper: WordSwapper,
  rng: random.Random,
) -> Example:
  """Draws a caption, an augmented picture and hard negatives.

  Args:
    record: Encoded picture and captions.
    config: Sizes and augmentation.
    swapper: Makes the hard negatives.
    rng: Source of every choice, one per position of the global order.

  Returns:
    The example.

  Raises:
    BadRecord: There is no caption, or the picture cannot be used.
  """
  captions = [text for text in record.captions if text.strip()]
  if not captions:
    raise BadRecord("empty caption")
  drawn = int(rng.random() * len(captions))
  caption = captions[drawn if config.caption == "random" else 0]
  picture = crop.decode_crop(
    record.image,
    record.size,
    config.image_size,
    config.crop_scale,
    rng,
    reduced=config.reduced_decode,
  )
  if config.flip and rng.random() < 0.5:
    picture, caption = augment.flip(picture), mirror_directions(caption)
  picture = augment.rand_augment(picture, *config.randaugment, rng)
  negatives = []
  if config.hard_negatives:
    negatives = swapper.negatives(caption, config.hard_negatives, rng)
  return Example(picture, record.image_id, caption, negatives)
