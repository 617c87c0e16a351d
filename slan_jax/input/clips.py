"""Clips of several frames: galleries to search."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slan_jax.input import image
from slan_jax.input.config import EvaluationConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.gallery import Gallery
from slan_jax.input.parts import PartSource
from slan_jax.input.text import load_encoder

CHOICES = ("uniform", "random")
_NEEDS = ("more_images",)


def choose_frames(
  total: int, frames: int, choice: str, rng: random.Random
) -> list[int]:
  """Numbers of the frames to take, ascending.

  Args:
    total: Frames that the clip has.
    frames: F, how many to take (4.2.5); more than there are repeats some.
    choice: "uniform": the first one of each of equal parts; "random": any, in
      their order.
    rng: Source of a random choice.

  Raises:
    ValueError: Another choice, or no frame.
  """
  if choice not in CHOICES or frames < 1:
    raise ValueError(
      f"{frames} frames, chosen {choice!r}: expected at least 1, and one of "
      f"{', '.join(CHOICES)}"
    )
  if choice == "random" and total >= frames:
    return sorted(rng.sample(range(total), frames))
  return [number * total // frames for number in range(frames)]


class Clips:
  """Encoded clips that decode to [n, F, S, S, 3] uint8 by rows."""

  def __init__(self, encoded: Sequence[Sequence[bytes]], side: int):
    """Keeps the bytes.

    Args:
      encoded: The chosen frames of each clip.
      side: S, pixels of each decoded square.
    """
    self._clips = [image.Pictures(frames, side) for frames in encoded]

  def __len__(self) -> int:
    return len(self._clips)

  def digest(self) -> bytes:
    """Sixteen bytes that tell these clips from others."""
    each = [clip.digest() for clip in self._clips]
    return hashlib.blake2b(b"".join(each), digest_size=16).digest()

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """The clips of several rows, or of one without the leading axis."""
    if np.ndim(rows):
      return np.stack([self[row] for row in rows])
    clip = self._clips[rows]
    return clip[np.arange(len(clip))]


def clip_split(
  directory: str | Path,
  split: str,
  config: EvaluationConfig,
  *,
  frames: int,
  choice: str,
  seed: int = 0,
  limit: int | None = None,
) -> Gallery:
  """Reads a gallery of clips for text-video retrieval.

  Args:
    directory: A prepared directory.
    split: Name of the split.
    config: Sizes.
    frames: F, frames of each clip.
    choice: One of CHOICES.
    seed: Of a random choice, together with the clip's name.
    limit: Clips at most, the first ones; None = every one.

  Returns:
    The gallery; its images are clips of F frames. A clip with a frame that
    cannot be used or without a caption is left out and counted.

  Raises:
    InputError: The data cannot be opened, or nothing is left.
  """
  source = PartSource(directory, split, _NEEDS)
  encoder = load_encoder(config.tokenizer, config.max_length, directory)
  ids, numbers, encoded, texts, text_clip = [], [], [], [], []
  skipped: Counter[str] = Counter()
  for number in range(min(limit or len(source), len(source))):
    try:
      record = source[number]
      spoken = [text for text in record.record.captions if text.strip()]
      if not spoken:
        raise BadRecord("empty caption")
      chosen = choose_frames(
        len(record.pictures),
        frames,
        choice,
        random.Random(f"{seed} {record.id}"),
      )
      taken = [record.pictures[place][0] for place in chosen]
      for data in dict.fromkeys(taken):
        image.decode(data)
    except BadRecord as error:
      skipped[str(error)] += 1
      continue
    text_clip += [len(ids)] * len(spoken)
    texts += spoken
    ids.append(record.id)
    numbers.append(record.record.image_id)
    encoded.append(taken)
  if not ids:
    raise InputError(f"{directory}: split {split!r} has no usable clip")
  tokens = encoder(texts)
  return Gallery(
    ids=ids,
    image_ids=np.array(numbers, np.int64),
    images=Clips(encoded, config.image_size),
    texts=texts,
    tokens=tokens.ids,
    mask=tokens.mask,
    text_image=np.array(text_clip, np.int32),
    skipped=skipped,
    encoder=encoder,
  )
