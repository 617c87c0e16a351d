import collections

import numpy as np
import pytest

from data import scene
from data.scene import DEFAULT, HARD

LEVELS = {"default": DEFAULT, "hard": HARD}


def scenes(level, count=150):
  for number in range(count):
    yield scene.sample_items(np.random.default_rng(number), level)


def shared_area(a, b):
  across = (a.extent + b.extent) / 2 - abs(a.x - b.x)
  along = (a.extent + b.extent) / 2 - abs(a.y - b.y)
  return max(across, 0) * max(along, 0)


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
def test_objects_lie_within_the_image_at_their_size(level):
  for items in scenes(level):
    assert 1 <= len(items) <= level.most
    for item in items:
      low, high = level.extents[item.size]
      assert low <= item.extent <= high
      assert item.extent / 2 <= min(item.x, item.y)
      assert max(item.x, item.y) <= 1 - item.extent / 2


def test_small_and_large_are_far_apart():
  for level in (DEFAULT, HARD):
    assert level.extents["large"][0] > 1.4 * level.extents["small"][1]


def test_default_objects_never_overlap():
  for items in scenes(DEFAULT):
    for number, a in enumerate(items):
      assert all(shared_area(a, b) == 0 for b in items[:number])


def test_hard_objects_overlap_by_less_than_the_limit():
  touched = 0
  for items in scenes(HARD):
    for a in items:
      shared = sum(shared_area(a, b) for b in items if b is not a)
      touched += shared > 0
      assert shared <= HARD.overlap * a.extent**2 + 1e-9
  assert touched > 20


def test_no_two_objects_of_a_scene_share_all_words():
  for items in scenes(HARD):
    assert len({item.attributes for item in items}) == len(items)


def test_every_word_and_every_count_occurs():
  sampled = [item for items in scenes(DEFAULT, 400) for item in items]
  words = collections.Counter(w for item in sampled for w in item.attributes)
  every = {*scene.SIZES, *scene.COLOURS, *scene.TEXTURES, *scene.SHAPES}
  assert set(words) == every
  assert words["plain"] > len(sampled) / 2
  counts = collections.Counter(len(items) for items in scenes(DEFAULT, 400))
  assert all(counts[number] > 60 for number in (1, 2, 3, 4))


def test_meaning_ignores_order_and_place():
  a = scene.Item("small", "red", "plain", "star", 0.2, 0.2, 0.2, 0.0)
  b = scene.Item("large", "red", "plain", "star", 0.7, 0.7, 0.4, 0.1)
  moved = scene.Item("small", "red", "plain", "star", 0.5, 0.3, 0.2, 0.2)
  assert scene.scene_meaning([a, b]) == scene.scene_meaning([b, moved])
  assert scene.scene_meaning([a]) != scene.scene_meaning([b])
