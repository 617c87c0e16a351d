import random

import numpy as np
import pytest

from data.parts import image_fields
from data.schema import record
from slan_jax.input.clips import choose_frames, clip_split
from slan_jax.input.errors import InputError
from tests.input.prepared import (
  evaluation_config,
  picture,
  write_dataset,
)


def clip(name, greys, captions=("a dog on the left",)):
  first, *more = [g if isinstance(g, bytes) else picture(g) for g in greys]
  return {
    **record(name, first, (16, 16), list(captions)),
    **image_fields([(frame, (16, 16)) for frame in more]),
  }


def made(tmp_path, *records, split="train"):
  return write_dataset(
    tmp_path, parts=("more_images",), **{split: list(records)}
  )


SIX = (10, 20, 30, 40, 50, 60)


def greys(frames):
  return frames[..., 0, 0, 0].tolist()


def test_frames_are_chosen_by_hand():
  rng = random.Random(0)
  assert choose_frames(6, 3, "uniform", rng) == [0, 2, 4]
  assert choose_frames(8, 8, "uniform", rng) == list(range(8))
  assert choose_frames(2, 4, "uniform", rng) == [0, 0, 1, 1]
  assert choose_frames(2, 4, "random", rng) == [0, 0, 1, 1]
  drawn = [tuple(choose_frames(6, 3, "random", rng)) for _ in range(60)]
  assert all(list(row) == sorted({*row}) and len(row) == 3 for row in drawn)
  assert len({*drawn}) > 10
  with pytest.raises(ValueError, match="uniform, random"):
    choose_frames(6, 3, "first", rng)
  with pytest.raises(ValueError, match="at least 1"):
    choose_frames(6, 0, "uniform", rng)


def test_a_gallery_decodes_clips_by_rows(tmp_path):
  records = [clip("a", SIX, ["a dog", "a cat"]), clip("b", SIX[::-1])]
  directory = made(tmp_path, *records, split="test")
  gallery = clip_split(
    directory, "test", evaluation_config(), frames=3, choice="uniform"
  )
  assert gallery.ids == ["a", "b"] and len(gallery.images) == 2
  assert gallery.text_image.tolist() == [0, 0, 1]
  both = gallery.images[np.array([1, 0])]
  assert both.shape == (2, 3, 16, 16, 3)
  assert greys(both) == [[60, 40, 20], [10, 30, 50]]
  assert greys(gallery.images[0]) == [10, 30, 50]
  assert gallery.encoder.decode(gallery.tokens[1]) == "a cat"


def test_random_frames_depend_on_seed_and_name(tmp_path):
  records = [clip("a", SIX), clip("b", SIX), clip("c", SIX)]
  directory = made(tmp_path, *records, split="test")

  def drawn(seed):
    gallery = clip_split(
      directory,
      "test",
      evaluation_config(),
      frames=3,
      choice="random",
      seed=seed,
    )
    return greys(gallery.images[np.arange(3)])

  assert drawn(0) == drawn(0) != drawn(1)
  assert len({tuple(row) for row in drawn(0)}) > 1


def test_a_broken_frame_costs_the_clip(tmp_path):
  bad = clip("bad", (10, b"text", 30))
  directory = made(tmp_path, bad, clip("mute", SIX, []), clip("good", SIX))
  gallery = clip_split(
    directory, "train", evaluation_config(), frames=3, choice="uniform"
  )
  assert gallery.ids == ["good"]
  assert gallery.skipped == {"corrupt image": 1, "empty caption": 1}


def test_an_empty_gallery_is_an_error(tmp_path):
  with pytest.raises(InputError, match="no usable clip"):
    clip_split(
      made(tmp_path, clip("mute", SIX, [])),
      "train",
      evaluation_config(),
      frames=2,
      choice="uniform",
    )


def test_a_digest_tells_frames_apart(tmp_path):
  directory = made(tmp_path, clip("a", SIX), clip("b", SIX[::-1]))

  def told(frames, limit=None):
    gallery = clip_split(
      directory,
      "train",
      evaluation_config(),
      frames=frames,
      choice="uniform",
      limit=limit,
    )
    return gallery.digest()

  assert told(3) == told(3) and len({told(3), told(2), told(3, 1)}) == 3
