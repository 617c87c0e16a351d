"""Records of scenes: the same for the same seed, split and number."""

import random
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from data.drawing import draw_scene
from data.grammar import Caption, write_captions
from data.scene import DEFAULT, HARD, Item, Level, sample_items, scene_meaning

LEVELS = {"scenes": DEFAULT, "scenes_hard": HARD}
SPLITS = ("train", "val", "test")
CAPTIONS = 4  # per picture, where the scene allows as many wordings
_JPEG = [
  *(cv2.IMWRITE_JPEG_QUALITY, 92),
  *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]


class SceneRecord(NamedTuple):
  """A scene drawn and described.

  Attributes:
    name: Unique within the data set.
    image: Encoded picture.
    side: Its side in pixels.
    captions: Descriptions; the first names every object in full.
    items: The objects in drawing order.
    boxes: [n, 4] float32 xyxy in [0, 1], what is visible of each object.
  """

  name: str
  image: bytes
  side: int
  captions: list[Caption]
  items: list[Item]
  boxes: np.ndarray


def draft(
  level: Level, seed: int, split: str, number: int, attempt: int = 0
) -> tuple[list[Item], np.random.Generator]:
  """Objects of a scene and the generator that goes on to draw it."""
  place = [seed, SPLITS.index(split), number, attempt]
  rng = np.random.default_rng(place)
  return sample_items(rng, level), rng


def distinct_attempts(
  level: Level, seed: int, split: str, count: int
) -> Iterator[int]:
  """For each scene of a gallery, the attempt that repeats no earlier one.

  Two scenes repeat each other when their full descriptions hold the same
  objects: no caption could then tell them apart.
  """
  seen = set()
  for number in range(count):
    attempt = 0
    while True:
      items, _ = draft(level, seed, split, number, attempt)
      meaning = scene_meaning(items)
      if meaning not in seen:
        break
      attempt += 1
    seen.add(meaning)
    yield attempt


def scene_record(
  name: str, seed: int, split: str, number: int, attempt: int = 0
) -> SceneRecord:
  """One scene of a data set: picture, captions and what evaluation needs.

  Args:
    name: Data set, a key of LEVELS.
    seed: Seed of the data set.
    split: One of SPLITS; splits never share a seed.
    number: Number within the split.
    attempt: Which of the scenes that could stand at this number.

  Returns:
    The scene.
  """
  level = LEVELS[name]
  items, rng = draft(level, seed, split, number, attempt)
  picture, boxes = draw_scene(items, level, rng)
  wording = random.Random(int(rng.integers(2**63)))
  captions = write_captions(
    wording, items, count=CAPTIONS, longest=level.longest
  )
  return SceneRecord(
    name=f"{split}-{number:06d}",
    image=encode(picture),
    side=level.side,
    captions=captions,
    items=items,
    boxes=boxes,
  )


def encode(picture: np.ndarray) -> bytes:
  """A drawn picture as JPEG: [S, S, 3] uint8 RGB."""
  _, encoded = cv2.imencode(".jpg", picture[..., ::-1], _JPEG)
  return encoded.tobytes()
