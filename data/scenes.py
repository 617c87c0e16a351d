"""Builders of the scenes: pictures that this project draws and describes."""

import functools
import itertools
import multiprocessing
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any

from data.builder import CaptionBuilder, Record
from data.counterfactual import counterfactual
from data.grammar import grammar_words, word_classes
from data.scene_record import (
  LEVELS,
  SceneRecord,
  distinct_attempts,
  scene_record,
)
from data.schema import record
from data.vocabulary import words_tokenizer

_CHUNK = 64  # scenes that a process draws at a time
_WORTH_A_POOL = 1000  # scenes below which starting processes costs more


class Scenes(CaptionBuilder):
  """Scenes of 1 to 4 objects at 64 pixels."""

  def __init__(
    self,
    *,
    train_size: int = 40_000,
    val_size: int = 500,
    test_size: int = 1_000,
    seed: int = 0,
    processes: int | None = None,
    **kwargs,
  ):
    """Chooses how many scenes to draw.

    Args:
      train_size: Scenes to train on.
      val_size: Scenes of the gallery scored during training.
      test_size: Scenes of the final gallery; its first 200 are the small one.
      seed: Seed of the whole data set.
      processes: Processes that draw; the records do not depend on it.
      **kwargs: Passed to CaptionBuilder.
    """
    self._sizes = {"train": train_size, "val": val_size, "test": test_size}
    self._seed = seed
    self._processes = processes or os.cpu_count() or 1
    self._counterfactuals: dict[str, list[dict[str, Any]]] = {}
    super().__init__(**kwargs)

  def split_sizes(self) -> dict[str, int]:
    return dict(self._sizes)

  def tokenizer(self):
    """The vocabulary of the grammar."""
    return words_tokenizer(grammar_words())

  def word_classes(self) -> dict[str, list[str]]:
    """Words that may replace one another in a hard negative."""
    return word_classes()

  def counterfactuals(self) -> dict[str, list[dict[str, Any]]]:
    """Pairs of captions of the galleries, by split, once these were drawn."""
    return self._counterfactuals

  def records(self, split: str) -> Iterator[Record]:
    drawn = _drawn(self._jobs(split), self._sizes[split], self._processes)
    if split != "train":
      drawn = self._gallery(split, list(drawn))
    for scene in drawn:
      self.report.count_read()
      yield _record(scene)

  def _gallery(
    self, split: str, scenes: list[SceneRecord]
  ) -> Iterator[SceneRecord]:
    found = (
      _counterfactual(f"{self.name}/{self._seed}", number, scene)
      for number, scene in enumerate(scenes)
    )
    self._counterfactuals[split] = [pair for pair in found if pair]
    return _without_repeats(scenes)

  def _jobs(self, split: str) -> Iterator[tuple]:
    count = self._sizes[split]
    attempts: Iterable[int] = itertools.repeat(0, count)
    if split != "train":
      level = LEVELS[self.name]
      attempts = distinct_attempts(level, self._seed, split, count)
    for number, attempt in enumerate(attempts):
      yield self.name, self._seed, split, number, attempt


class ScenesHard(Scenes):
  """Scenes of 1 to 6 objects at 128 pixels with overlap and clutter."""


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


def _record(scene: SceneRecord) -> Record:
  phrases, phrase_boxes = [], []
  for number, caption in enumerate(scene.captions):
    for phrase in caption.phrases:
      boxes = scene.boxes[list(phrase.items)]
      phrase_boxes += [(len(phrases), box) for box in boxes]
      phrases.append((phrase.text, number, phrase.start, phrase.end))
  return record(
    scene.name,
    scene.image,
    (scene.side, scene.side),
    [caption.text for caption in scene.captions],
    phrases=phrases,
    phrase_boxes=phrase_boxes,
    objects=[
      (item.shape, box, False) for item, box in zip(scene.items, scene.boxes)
    ],
  )


def _drawn(
  jobs: Iterable[tuple], count: int, processes: int
) -> Iterator[SceneRecord]:
  if processes < 2 or count < _WORTH_A_POOL:
    yield from itertools.starmap(scene_record, jobs)
    return
  # Started afresh, not forked: the parent may hold threads.
  with multiprocessing.get_context("spawn").Pool(processes) as pool:
    draw = functools.partial(_star, scene_record)
    yield from pool.imap(draw, jobs, _CHUNK)


def _star(function, arguments):
  return function(*arguments)
