"""Clips of several frames: rows to train on, and galleries to search."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.input import augment, crop, image
from slan_jax.input.config import EvaluationConfig, InputConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.gallery import Gallery
from slan_jax.input.maker import Batch
from slan_jax.input.parts import PartRecord, PartSource
from slan_jax.input.text import load_encoder, text_id
from slan_jax.input.words import mirror_directions

CHOICES = ("uniform", "random")
_NEEDS = ("more_images",)


class ClipExample(NamedTuple):
  """Frames of one augmented clip with a caption.

  Attributes:
    frames: [F, S, S, 3] uint8 RGB, in order of time.
    image_id: Stable number of the clip.
    caption: One of its captions, mirrored with the frames.
  """

  frames: np.ndarray
  image_id: int
  caption: str


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


class ClipMaker:
  """Makes rows of clips; see `maker.Maker`."""

  def __init__(
    self,
    directory: str | Path,
    config: InputConfig,
    *,
    frames: int,
    choice: str,
  ):
    """Opens the tokenizer.

    Args:
      directory: A prepared directory.
      config: What batches are made of.
      frames: F, frames of a clip.
      choice: One of CHOICES.

    Raises:
      InputError: The tokenizer cannot be used.
    """
    self._config, self._frames, self._choice = config, frames, choice
    self.encoder = load_encoder(config.tokenizer, config.max_length, directory)

  def open(self, directory: str | Path) -> PartSource:
    """Frames and captions of the training split."""
    return PartSource(directory, self._config.split, _NEEDS)

  def example(self, record: PartRecord, rng: random.Random) -> ClipExample:
    """A clip with one of its captions; all frames are augmented alike.

    Raises:
      BadRecord: There is no caption, or a frame cannot be used.
    """
    config = self._config
    captions = [text for text in record.record.captions if text.strip()]
    if not captions:
      raise BadRecord("empty caption")
    drawn = int(rng.random() * len(captions))
    caption = captions[drawn if config.caption == "random" else 0]
    numbers = choose_frames(
      len(record.pictures), self._frames, self._choice, rng
    )
    flipped = config.flip and rng.random() < 0.5
    seed = rng.random()  # the same window and operations for every frame
    frames = [
      self._frame(*record.pictures[number], flipped, random.Random(seed))
      for number in numbers
    ]
    caption = mirror_directions(caption) if flipped else caption
    return ClipExample(np.stack(frames), record.record.image_id, caption)

  def _frame(
    self, data: bytes, size: tuple[int, int], flip: bool, rng: random.Random
  ) -> np.ndarray:
    config = self._config
    frame = crop.decode_crop(
      data,
      size,
      config.image_size,
      config.crop_scale,
      rng,
      reduced=config.reduced_decode,
    )
    frame = augment.flip(frame) if flip else frame
    return augment.rand_augment(frame, *config.randaugment, rng)

  def batch(
    self, examples: Sequence[ClipExample]
  ) -> tuple[Batch, list[tuple[int, str]]]:
    """The arrays of several rows.

    Returns:
      image uint8 [B, F, S, S, 3], image_id and text_id int32 [B], text int32
      [B, N] and text_mask bool. And (row, reason) of what had to be cut.
    """
    texts = self.encoder([example.caption for example in examples])
    batch = {
      "image": np.stack([example.frames for example in examples]),
      "image_id": np.array([e.image_id for e in examples], np.int32),
      "text_id": np.array([text_id(e.caption) for e in examples], np.int32),
      "text": texts.ids,
      "text_mask": texts.mask,
    }
    cut = [(int(row), "truncated") for row in np.flatnonzero(texts.truncated)]
    return batch, cut


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
  captions: str = "all",
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
    captions: "all" or only the "first" of each clip.

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
    spoken = spoken[:1] if captions == "first" else spoken
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
