import random

import numpy as np
import pytest

from data.scene import DEFAULT, Item
from data.scene_clip import (
  MOTIONS,
  Actor,
  clip_captions,
  clip_frames,
  sample_actors,
)

RING = Item("small", "red", "plain", "ring", 0.5, 0.3, 0.2, 0.0)
STAR = Item("large", "blue", "plain", "star", 0.7, 0.5, 0.3, 0.0)


def test_objects_move_come_and_go_by_hand():
  actors = [
    Actor(RING, " left to right", (0.0, 1.0)),
    Actor(STAR, " bottom to top", (0.5, 1.0)),
  ]
  frames = clip_frames(actors, 4)
  assert [len(items) for items in frames] == [1, 1, 2, 2]
  # A way goes from 0.16 to 0.84; four frames stand at 1/8, 3/8, 5/8, 7/8.
  np.testing.assert_allclose(
    [items[0].x for items in frames],
    [0.245, 0.415, 0.585, 0.755],
  )
  assert all(items[0].y == 0.3 for items in frames)
  third, fourth = frames[2:]
  np.testing.assert_allclose([third[1].y, fourth[1].y], [0.415, 0.245])
  assert third[1].x == fourth[1].x == 0.7


def test_captions_tell_the_way():
  actors = [
    Actor(RING, " left to right", (0.0, 1.0)),
    Actor(STAR, "", (0.0, 1.0)),
  ]
  told = clip_captions(random.Random(0), actors, count=4, longest=30)
  assert len(set(told)) == len(told) == 4
  assert "a small red ring left to right" in told[0]
  assert "a large blue star" in told[0]
  assert not any("star left" in text for text in told)


@pytest.fixture(scope="module")
def clips():
  return [sample_actors(np.random.default_rng(n), DEFAULT) for n in range(80)]


def test_nothing_leaves_the_picture(clips):
  for actors in clips:
    for item in (item for items in clip_frames(actors, 5) for item in items):
      assert item.extent / 2 <= item.x + 0.01 and item.x <= 1 - item.extent / 2
      assert item.extent / 2 <= item.y + 0.01 and item.y <= 1 - item.extent / 2


def test_clips_move_in_every_direction_and_objects_come_and_go(clips):
  motions = {actor.motion for actors in clips for actor in actors}
  assert motions == {*MOTIONS}
  parts = {actor.shown for actors in clips for actor in actors}
  assert parts == {(0.0, 1.0), (0.0, 0.5), (0.5, 1.0)}


def test_ways_are_left_out_where_they_would_be_too_long():
  actors = [
    Actor(RING, " left to right", (0.0, 1.0)),
    Actor(STAR, " bottom to top", (0.0, 1.0)),
  ]
  told = clip_captions(random.Random(0), actors, count=4, longest=10)
  assert told and not any("to" in text.split() for text in told)
  assert all(len(text.split()) <= 10 for text in told)
