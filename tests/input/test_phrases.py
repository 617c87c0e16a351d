import random

import numpy as np
import pytest

from data.schema import record
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.phrases import PhraseMaker
from slan_jax.input.source import EvaluationSource
from tests.input.prepared import (
  input_config,
  picture,
  plain_records,
  write_dataset,
)

LEFT, RIGHT = [0.0, 0.25, 0.5, 0.75], [0.5, 0.0, 1.0, 1.0]
CAPTION = "a dog left of the red cat"


def told(tmp_path, kinds=False):
  made = record(
    "a",
    picture(100),
    (16, 16),
    [CAPTION, "two dogs"],
    phrases=[
      ("a dog", 0, 0, 5),
      ("the red cat", 0, 14, 25),
      ("red", 0, 18, 21),  # no box
      ("two dogs", 1, 0, 8),
    ],
    phrase_boxes=[(0, LEFT), (1, RIGHT), (3, LEFT), (3, RIGHT)],
  )
  if kinds:
    made["phrase_kinds"] = ["animals", "animals/people", "", "animals"]
  parts = ("phrase_kinds",) if kinds else ()
  return write_dataset(tmp_path, parts=parts, train=[made])


def rows(directory, count=1, phrases=3, boxes=2, **changes):
  config = input_config(**changes)
  maker = PhraseMaker(directory, config, phrases=phrases, boxes=boxes)
  source = maker.open(directory)
  return maker, [
    maker.example(source[0], random.Random(seed)) for seed in range(count)
  ]


def named(maker, batch, row=0):
  """The words of each phrase of a row."""
  return [
    maker.encoder.decode(batch["text"][row][tokens])
    for tokens in batch["phrase_tokens"][row]
    if tokens.any()
  ]


def test_rows_hold_phrases_and_their_boxes(tmp_path):
  maker, examples = rows(told(tmp_path))
  batch, cut = maker.batch(examples)
  assert cut == [] and batch["boxes"].shape == (1, 3, 2, 4)
  assert named(maker, batch) == ["a dog", "the red cat"]
  np.testing.assert_allclose(batch["boxes"][0, :2, 0], [LEFT, RIGHT])
  assert batch["box_mask"].tolist() == [
    [[True, False], [True, False], [False, False]]
  ]


def test_any_caption_with_boxes_may_be_drawn(tmp_path):
  maker, examples = rows(told(tmp_path), 20, caption="random")
  assert {e.caption for e in examples} == {CAPTION, "two dogs"}
  (dogs, *_) = [e for e in examples if e.caption == "two dogs"]
  batch, _ = maker.batch([dogs])
  np.testing.assert_allclose(batch["boxes"][0, 0], [LEFT, RIGHT])


def test_a_flip_moves_boxes_words_and_spans(tmp_path):
  maker, examples = rows(told(tmp_path), 12, flip=True)
  flipped = [e for e in examples if "right" in e.caption]
  assert 0 < len(flipped) < 12
  batch, _ = maker.batch(flipped[:1])
  assert flipped[0].caption == "a dog right of the red cat"
  assert named(maker, batch) == ["a dog", "the red cat"]
  np.testing.assert_allclose(
    batch["boxes"][0, :2, 0], [[0.5, 0.25, 1, 0.75], [0, 0, 0.5, 1]]
  )


def test_what_does_not_fit_is_cut_and_told(tmp_path):
  maker, examples = rows(told(tmp_path), 20, 1, 1, caption="random")
  reasons = {
    e.caption: {reason for _, reason in maker.batch([e])[1]} for e in examples
  }
  assert reasons == {
    CAPTION: {"too many phrases"},
    "two dogs": {"too many boxes"},
  }


def test_a_phrase_beyond_the_text_has_no_boxes(tmp_path):
  maker, examples = rows(told(tmp_path), max_length=5)
  batch, cut = maker.batch(examples)
  assert cut == [(0, "truncated")]
  assert batch["box_mask"].any(-1).tolist() == [[True, False, False]]
  assert not batch["phrase_tokens"][0, 1].any()


def test_a_crop_may_lose_phrases(tmp_path):
  directory = told(tmp_path)
  config = input_config(crop_scale=(0.1, 0.3))
  maker = PhraseMaker(directory, config, phrases=3, boxes=2)
  counts = []
  for seed in range(40):
    try:
      example = maker.example(maker.open(directory)[0], random.Random(seed))
      counts.append(len(example.spans))
    except BadRecord as error:
      assert str(error) == "no phrase in the crop"
      counts.append(0)
  assert {*counts} == {0, 1, 2} or {*counts} == {0, 1}


def test_no_phrases_is_a_bad_record(tmp_path):
  directory = write_dataset(tmp_path, train=plain_records(1))
  with pytest.raises(BadRecord, match="no phrase with a box"):
    rows(directory)
  with pytest.raises(InputError, match="randaugment"):
    rows(directory, randaugment=(1, 5))


def test_kinds_are_read_where_there_are_any(tmp_path):
  with_kinds = EvaluationSource(told(tmp_path / "a", kinds=True), "train")[0]
  assert [phrase.kinds for phrase in with_kinds.phrases] == [
    ("animals",),
    ("animals", "people"),
    (),
    ("animals",),
  ]
  without = EvaluationSource(told(tmp_path / "b"), "train")[0]
  assert all(phrase.kinds == () for phrase in without.phrases)
