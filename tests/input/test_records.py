import random

import cv2
import numpy as np
import pytest

from slan_jax.input.errors import BadRecord
from slan_jax.input.records import training_example
from slan_jax.input.source import TrainingRecord
from slan_jax.input.words import WordSwapper
from tests.input.prepared import input_config, picture

SWAPPER = WordSwapper({"colour": ["red", "blue"], "animal": ["dog", "cat"]})


def example(captions, seed=0, image=None, **changes):
  image = picture(200) if image is None else image
  record = TrainingRecord("name", 7, image, (16, 16), captions)
  config = input_config(**changes)
  return training_example(record, config, SWAPPER, random.Random(seed))


def test_a_plain_example_is_the_picture_and_its_first_caption():
  made = example(["a dog", "a cat"])
  assert made.caption == "a dog" and made.image_id == 7 and not made.negatives
  assert (made.image[:, :8] == 200).all() and (made.image[:, 8:] == 0).all()


def test_captions_are_drawn_evenly():
  texts = [f"caption {n}" for n in range(4)]
  drawn = [
    example(texts, seed, caption="random").caption for seed in range(400)
  ]
  assert all(70 < drawn.count(text) < 130 for text in texts)


def test_a_mirrored_picture_has_a_mirrored_caption():
  seen = set()
  for seed in range(20):
    made = example(["a bright dog left of a cat"], seed, flip=True)
    mirrored = made.image[0, -1, 0] == 200
    words = "a bright dog right of a cat" if mirrored else "a bright dog left"
    assert made.caption.startswith(words)
    seen.add(mirrored)
  assert seen == {True, False}


def test_negatives_are_made_from_the_mirrored_caption():
  for seed in range(10):
    made = example(["a red dog left of it"], seed, flip=True, hard_negatives=2)
    side = "right" if made.image[0, -1, 0] == 200 else "left"
    assert len(made.negatives) == 2
    assert all(f"{side} of it" in text for text in made.negatives)
    assert made.caption not in made.negatives


def test_empty_captions_are_passed_over():
  for seed in range(10):
    made = example(["", "  ", "a dog"], seed, caption="random")
    assert made.caption == "a dog"
  for captions in ([], [""], [" \n"]):
    with pytest.raises(BadRecord, match="empty caption"):
      example(captions)


def test_bad_pictures_are_refused():
  with pytest.raises(BadRecord, match="corrupt"):
    example(["a dog"], image=b"text")
  tiny = cv2.imencode(".png", np.zeros((4, 16, 3), np.uint8))[1].tobytes()
  with pytest.raises(BadRecord, match="under 8"):
    example(["a dog"], image=tiny)


def test_everything_random_repeats_with_its_seed():
  changes = {
    "flip": True,
    "randaugment": (2, 7),
    "crop_scale": (0.3, 1.0),
    "caption": "random",
    "hard_negatives": 2,
  }
  captions = ["a red dog", "a blue cat left of it"]
  first, again = (example(captions, 4, **changes) for _ in range(2))
  np.testing.assert_array_equal(first.image, again.image)
  assert first[1:] == again[1:]
  images = {example(captions, s, **changes).image.tobytes() for s in range(12)}
  assert len(images) > 8
