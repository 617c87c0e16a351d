"""Sources of the scenes: pictures that this project draws and describes."""

import json
import random
from collections.abc import Iterator
from typing import Any, ClassVar

from data.counterfactual import counterfactual
from data.drawn import Drawn
from data.grammar import word_classes
from data.scene_record import (
  LEVELS,
  SceneRecord,
  distinct_attempts,
  scene_record,
)
from data.source import Example


class Scenes(Drawn):
  """Scenes of 1 to 4 objects at 64 pixels."""

  per_shard: ClassVar[int] = 80
  files: ClassVar[tuple[str, ...]] = (
    "word_classes.json",
    "counterfactuals.json",
  )
  level: ClassVar[str] = "scenes"
  sizes: ClassVar[dict[str, int]] = {
    "train": 40_000,
    "val": 500,
    "test": 1_000,  # the first 200 are the small gallery
  }

  def read(self, split: str, item: Any) -> Iterator[Example]:
    start, stop = item
    if split == "train":
      for number in range(start, stop):
        yield _example(scene_record(self.level, self._seed, split, number))
    else:
      yield from map(_example, _without_repeats(self._gallery(split)))

  def _gallery(self, split: str) -> list[SceneRecord]:
    attempts = distinct_attempts(
      LEVELS[self.level], self._seed, split, self._sizes[split]
    )
    return [
      scene_record(self.level, self._seed, split, number, attempt)
      for number, attempt in enumerate(attempts)
    ]

  def texts(self) -> dict[str, str]:
    """Words that may replace one another, and pairs of captions."""
    # One list per split, one line per pair.
    lists = [
      f"{json.dumps(split)}: [\n" + ",\n".join(map(json.dumps, pairs)) + "\n]"
      for split, pairs in self.counterfactuals().items()
    ]
    contents = (
      json.dumps(word_classes(), indent=2) + "\n",
      "{" + ",\n".join(lists) + "}\n",
    )
    return dict(zip(self.files, contents))

  def counterfactuals(self) -> dict[str, list[dict[str, Any]]]:
    """Pairs of captions of the galleries, by split."""
    made = {}
    for split in ("val", "test"):
      found = (
        _counterfactual(f"{self.level}/{self._seed}", number, scene)
        for number, scene in enumerate(self._gallery(split))
      )
      made[split] = [pair for pair in found if pair]
    return made


class ScenesHard(Scenes):
  """Scenes of 1 to 6 objects at 128 pixels with overlap and clutter."""

  level: ClassVar[str] = "scenes_hard"


def _without_repeats(scenes: list[SceneRecord]) -> Iterator[SceneRecord]:
  """Drops captions that are told of another picture of the gallery too.

  First captions stay: they name different objects in full, so they differ.
  """
  told = {scene.captions[0].text for scene in scenes}
  for scene in scenes:
    first, *others = scene.captions
    kept = [caption for caption in others if caption.text not in told]
    told.update(caption.text for caption in kept)
    yield scene._replace(captions=[first, *kept])


def _counterfactual(
  seed: str, number: int, scene: SceneRecord
) -> dict[str, Any] | None:
  """A row of counterfactuals.json, or None where the scene offers none."""
  # A source of its own: what is drawn does not depend on it.
  rng = random.Random(f"{seed}/{scene.name}")
  found = counterfactual(rng, scene.items)
  if found is None:
    return None
  owners = [phrase.items[0] for phrase in found.phrases]
  return {
    "record": number,
    "id": scene.name,
    "kind": found.kind,
    "captions": found.captions,
    "spans": [(phrase.start, phrase.end) for phrase in found.phrases],
    "boxes": scene.boxes[owners].tolist(),
  }


def _example(scene: SceneRecord) -> Example:
  phrases, phrase_boxes = [], []
  for number, caption in enumerate(scene.captions):
    for phrase in caption.phrases:
      boxes = scene.boxes[list(phrase.items)]
      phrase_boxes += [(len(phrases), box) for box in boxes]
      phrases.append((phrase.text, number, phrase.start, phrase.end))
  return Example(
    scene.name,
    scene.image,
    [caption.text for caption in scene.captions],
    size=(scene.side, scene.side),
    phrases=phrases,
    phrase_boxes=phrase_boxes,
    objects=[
      (item.shape, box, False) for item, box in zip(scene.items, scene.boxes)
    ],
  )
