"""Evaluation of retrieval: a gallery of pictures and the texts about them."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.input import image
from slan_jax.input.config import EvaluationConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.source import StoredPictures, TrainingSource
from slan_jax.input.text import TextEncoder, load_encoder


@dataclasses.dataclass(frozen=True)
class Gallery:
  """Pictures and texts in stored order.

  Attributes:
    ids: Name of each picture.
    image_ids: [I] int64, stable number of each picture.
    images: The pictures, or clips of several frames, indexed by rows.
    texts: The captions.
    tokens: [T, N] int32, the captions encoded.
    mask: [T, N] bool, True on real tokens.
    text_image: [T] int32, row of the picture that each text is about.
    skipped: Records left out, by reason.
    encoder: The tokenizer.
  """

  ids: list[str]
  image_ids: np.ndarray
  images: Any
  texts: list[str]
  tokens: np.ndarray
  mask: np.ndarray
  text_image: np.ndarray
  skipped: Counter[str]
  encoder: TextEncoder

  def digest(self) -> str:
    """32 hexadecimal digits that tell these pictures and texts from others."""
    total = hashlib.blake2b(self.images.digest(), digest_size=16)
    for array in (self.tokens, self.mask, self.text_image):
      total.update(f"{array.dtype.str}{array.shape}".encode())
      total.update(np.ascontiguousarray(array))
    return total.hexdigest()


def retrieval_split(
  directory: str | Path,
  split: str,
  config: EvaluationConfig,
  *,
  limit: int | None = None,
  captions: str = "all",
) -> Gallery:
  """Reads a gallery.

  Args:
    directory: A prepared directory.
    split: Name of the split.
    config: Sizes.
    limit: Pictures at most, the first ones; None = every one.
    captions: "all" or only the "first" of each picture; "any" number of them:
      pictures without one stay.

  Returns:
    The gallery. Records of one picture are joined; a picture that cannot be
    used or has no caption is left out and counted.

  Raises:
    InputError: The data cannot be opened, or nothing is left.
  """
  source = TrainingSource(directory, split)
  encoder = load_encoder(config.tokenizer, config.max_length, directory)
  rows: dict[tuple[int, bytes], int] = {}  # of a picture, by what it is
  ids, places, texts, text_image = [], [], [], []
  skipped: Counter[str] = Counter()
  for number in range(len(source)):
    try:
      record = source[number]
      spoken = [text for text in record.captions if text.strip()]
      if not spoken and captions != "any":
        raise BadRecord("empty caption")
      # Of 5,000 pictures, two may share a number by chance.
      digest = hashlib.blake2b(record.image, digest_size=16).digest()
      key = record.image_id, digest
      if key not in rows:
        if limit is not None and len(rows) == limit:
          continue
        image.decode(record.image)
        rows[key] = len(rows)
        ids.append(record.id)
        places.append(number)
    except BadRecord as error:
      skipped[str(error)] += 1
      continue
    spoken = spoken[:1] if captions == "first" else spoken
    texts += spoken
    text_image += [rows[key]] * len(spoken)
  if not ids:
    raise InputError(f"{directory}: split {split!r} has no usable record")
  order = np.argsort(text_image, kind="stable")
  texts = [texts[place] for place in order]
  tokens = encoder(texts)
  return Gallery(
    ids=ids,
    image_ids=np.array([number for number, _ in rows], np.int64),
    images=image.Pictures(StoredPictures(source, places), config.image_size),
    texts=texts,
    tokens=tokens.ids,
    mask=tokens.mask,
    text_image=np.array(text_image, np.int32)[order],
    skipped=skipped,
    encoder=encoder,
  )
