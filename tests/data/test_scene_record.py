import cv2
import numpy as np
import pytest

from data import scene_record
from data.scene import DEFAULT, scene_meaning


def make(**changes):
  place = {"name": "scenes", "seed": 0, "split": "train", "number": 3}
  return scene_record.scene_record(**(place | changes))


def test_a_record_is_the_same_every_time():
  first, second = make(), make()
  assert first.image == second.image
  assert first.captions == second.captions
  np.testing.assert_array_equal(first.boxes, second.boxes)


@pytest.mark.parametrize(
  "change", [{"seed": 1}, {"split": "test"}, {"number": 4}, {"attempt": 1}]
)
def test_seed_split_number_and_attempt_each_matter(change):
  assert make().image != make(**change).image


@pytest.mark.parametrize("name,side", [("scenes", 64), ("scenes_hard", 128)])
def test_a_record_is_whole(name, side):
  record = make(name=name)
  picture = cv2.imdecode(np.frombuffer(record.image, np.uint8), 1)
  assert picture.shape == (side, side, 3) and record.side == side
  assert len(record.boxes) == len(record.items) >= 1
  assert (record.boxes >= 0).all() and (record.boxes <= 1).all()
  assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
  assert 1 <= len(record.captions) <= scene_record.CAPTIONS


def test_most_scenes_have_four_captions():
  counts = [len(make(number=number).captions) for number in range(60)]
  assert np.mean(counts) > 3.7


def test_attempts_make_a_gallery_distinct():
  count = 500
  attempts = list(scene_record.distinct_attempts(DEFAULT, 0, "test", count))
  meanings = {
    scene_meaning(scene_record.draft(DEFAULT, 0, "test", number, attempt)[0])
    for number, attempt in enumerate(attempts)
  }
  assert len(meanings) == count
  # Scenes of one object repeat by chance: otherwise this would test nothing.
  assert max(attempts) > 0
  assert attempts[:3] == [0, 0, 0]
