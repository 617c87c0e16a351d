import numpy as np
import pytest

from data.schema import record
from slan_jax.input.errors import InputError
from slan_jax.input.grounding import grounding_split
from tests.input.prepared import (
  evaluation_config,
  picture,
  plain_records,
  write_dataset,
)

SMALL = [0.0, 0.0, 0.2, 0.2]
LARGE = [0.5, 0.5, 0.9, 0.9]


def two_captions(name="both", image=None):
  return record(
    name,
    picture(5) if image is None else image,
    (16, 16),
    ["a red dog left of a cat", "two dogs"],
    phrases=[
      ("a red dog", 0, 0, 9),
      ("a cat", 0, 18, 23),
      ("two dogs", 1, 0, 8),
    ],
    phrase_boxes=[(0, SMALL), (2, SMALL), (2, LARGE)],
    objects=[("dog", SMALL, False), ("dog", LARGE, False)],
  )


def split(tmp_path, records, **changes):
  directory = write_dataset(tmp_path, test=records)
  return grounding_split(directory, "test", evaluation_config(), **changes)


def test_every_caption_with_boxes_is_an_example(tmp_path):
  made = split(tmp_path, [*plain_records(2), two_captions()])
  assert [e.caption for e in made.examples] == [
    "a red dog left of a cat",
    "two dogs",
  ]
  assert made.skipped == {"phrase without box": 1}
  (dog,), (dogs,) = [example.phrases for example in made.examples]
  assert dog.text == "a red dog" and dog.size == "small" and dog.objects == 2
  np.testing.assert_allclose(dogs.boxes, [SMALL, LARGE])
  assert dogs.size == "large"  # of 0.04 and 0.16 of the image, mean 0.1


def test_arrays_belong_to_the_examples(tmp_path):
  made = split(tmp_path, [two_captions("x"), two_captions("y")])
  assert made.phrase_tokens.shape == (4, 1, 12)
  for row, text in enumerate(("a red dog", "two dogs")):
    inside = made.tokens[row][made.phrase_tokens[row, 0]]
    assert made.encoder.decode(inside) == text
    assert made.encoder.decode(made.tokens[row]) == made.examples[row].caption
  assert (made.mask == (made.tokens != 0)).all()
  # A picture is kept once for all of its captions.
  assert made.image.tolist() == [0, 0, 1, 1]
  assert made.images[made.image].shape == (4, 16, 16, 3)
  assert len(made.images) == 2


def test_first_records(tmp_path):
  records = [two_captions("x"), two_captions("y")]
  directory = write_dataset(tmp_path, test=records)
  limited = grounding_split(directory, "test", evaluation_config(), limit=1)
  assert {example.id for example in limited.examples} == {"x"}


def test_a_phrase_beyond_the_cut_is_kept_as_a_miss(tmp_path):
  record = two_captions()
  record["phrase_boxes"]["phrase"][1] = 1  # now the cat has a box, dogs one
  directory = write_dataset(tmp_path, test=[record])
  config = evaluation_config(max_length=4)
  made = grounding_split(directory, "test", config)
  assert [len(example.phrases) for example in made.examples] == [2, 1]
  assert made.phrase_tokens.sum(-1).tolist() == [[2, 0], [2, 0]]


def test_bad_pictures_are_left_out_and_counted(tmp_path):
  made = split(tmp_path, [two_captions("x", b"text"), two_captions("y")])
  assert {example.id for example in made.examples} == {"y"}
  assert made.skipped["corrupt image"] == 1


def test_scenes_ground_every_phrase(scenes):
  config = evaluation_config(image_size=64, max_length=32)
  made = grounding_split(scenes, "test", config)
  assert not made.skipped
  phrases = [p for example in made.examples for p in example.phrases]
  assert all(len(p.boxes) for p in phrases)
  assert made.phrase_tokens.any(-1).sum() == len(phrases)
  assert all(1 <= p.objects <= 4 for p in phrases)
  single = [p for p in phrases if p.text.split()[1] in ("small", "large")]
  assert len(single) > 50
  # The word agrees with the class by area wherever one object is named.
  assert all(p.size == p.text.split()[1] for p in single if len(p.boxes) == 1)


def test_data_without_boxes_is_an_error(tmp_path):
  with pytest.raises(InputError, match="no phrases with boxes"):
    split(tmp_path, plain_records(2))
