"""Source of short clips of moving objects with captions, as MSR-VTT's."""

import argparse
import json
import random
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np

from data.drawing import draw_scene
from data.drawn import Drawn
from data.grammar import word_classes
from data.parts import image_fields, part_features
from data.scene import DEFAULT, scene_meaning
from data.scene_clip import (
  Actor,
  clip_captions,
  clip_frames,
  sample_actors,
)
from data.scene_record import CAPTIONS, SPLITS, encode
from data.source import Example, at_least

_STREAM = 2  # apart from the scenes of the same seed


class ScenesClips(Drawn):
  """Clips of 1 to 4 objects that move, come and go."""

  per_shard: ClassVar[int] = 16
  chunk: ClassVar[int] = 32
  files: ClassVar[tuple[str, ...]] = ("word_classes.json",)
  sizes: ClassVar[dict[str, int]] = {"train": 4_000, "val": 250, "test": 500}
  frames = 8

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    super().add_options(parser)
    parser.add_argument(
      "--frames", type=at_least(1), default=cls.frames, help="of each clip"
    )

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    made = super().from_options(options)
    made.frames = options.frames
    return made

  def read(self, split: str, item: Any) -> Iterator[Example]:
    start, stop = item
    seen: set[Any] = set()
    for number in range(start, stop):
      attempt = 0
      while True:
        actors, rng = self._draft(split, number, attempt)
        meaning = scene_meaning([actor.item for actor in actors])
        if split == "train" or meaning not in seen:
          break
        attempt += 1
      seen.add(meaning)
      yield self._example(f"{split}-{number:06d}", split, actors, rng)

  def _draft(
    self, split: str, number: int, attempt: int
  ) -> tuple[list[Actor], np.random.Generator]:
    place = [self._seed, SPLITS.index(split), number, attempt, _STREAM]
    rng = np.random.default_rng(place)
    while True:
      actors = sample_actors(rng, DEFAULT)
      if all(clip_frames(actors, 2)):  # nothing is told of an empty frame
        return actors, rng

  def _example(
    self,
    name: str,
    split: str,
    actors: list[Actor],
    rng: np.random.Generator,
  ) -> Example:
    wording = random.Random(int(rng.integers(2**63)))
    # One sentence a clip to search with, as in MSR-VTT's 1k-A.
    count = CAPTIONS if split == "train" else 1
    captions = clip_captions(
      wording, actors, count=count, longest=DEFAULT.longest
    )
    # Every frame draws its background anew from the same numbers.
    look = int(rng.integers(2**63))
    size = (DEFAULT.side, DEFAULT.side)
    first, *more = (
      encode(draw_scene(items, DEFAULT, np.random.default_rng(look))[0])
      for items in clip_frames(actors, self.frames)
    )
    return Example(
      name,
      first,
      captions,
      size=size,
      extra=image_fields([(frame, size) for frame in more]),
    )

  def fields(self) -> dict[str, Any]:
    return part_features(("more_images",))

  def texts(self) -> dict[str, str]:
    """Words that exclude each other."""
    return {self.files[0]: json.dumps(word_classes(), indent=2) + "\n"}
