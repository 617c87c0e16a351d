import random

import numpy as np
import pytest

from data.parts import image_fields, statement_fields
from data.row import StatementRow
from data.schema import record
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.pairs import PairMaker, pair_split
from tests.input.prepared import (
  evaluation_config,
  input_config,
  picture,
  write_dataset,
)

PARTS = ("statements", "more_images")
TEXT = "a dog on the left"


def pair(name, true=True, right=200, text=TEXT, count=1):
  image = right if isinstance(right, bytes) else picture(right)
  return {
    **record(name, picture(100), (16, 16), []),
    **statement_fields([StatementRow(text, true, "g")]),
    **image_fields([(image, (16, 16))] * count),
  }


def made(tmp_path, *records, split="train"):
  return write_dataset(tmp_path, parts=PARTS, **{split: list(records)})


def test_rows_hold_both_pictures_and_the_label(tmp_path):
  directory = made(tmp_path, pair("a"), pair("b", true=False))
  maker = PairMaker(directory, input_config())
  source = maker.open(directory)
  rows = [maker.example(source[n], random.Random(0)) for n in range(2)]
  batch, cut = maker.batch(rows)
  assert cut == [] and batch["image"].shape == (2, 2, 16, 16, 3)
  assert batch["image"][:, :, 0, 0, 0].tolist() == [[100, 200]] * 2
  assert batch["label"].tolist() == [1, 0]
  assert maker.encoder.decode(batch["text"][0]) == TEXT
  cutting = PairMaker(directory, input_config(max_length=4))
  assert cutting.batch(rows)[1] == [(0, "truncated"), (1, "truncated")]


def test_a_flip_mirrors_the_whole_pair(tmp_path):
  directory = made(tmp_path, pair("a"))
  maker = PairMaker(directory, input_config(flip=True))
  record = maker.open(directory)[0]
  rows = [maker.example(record, random.Random(n)) for n in range(20)]
  # Of a picture, its left half is grey: mirrored, its right half.
  seen = {
    (row.statement, *row.images[:, 0, 0, 0], *row.images[:, 0, -1, 0])
    for row in rows
  }
  assert seen == {
    (TEXT, 100, 200, 0, 0),
    ("a dog on the right", 0, 0, 200, 100),
  }


@pytest.mark.parametrize(
  "change,reason",
  [
    ({"text": " "}, "empty statement"),
    ({"count": 2}, "not a pair of pictures"),
    ({"count": 0}, "not a pair of pictures"),
    ({"right": b"text"}, "corrupt image"),
  ],
)
def test_records_that_cannot_be_used_are_left_out(tmp_path, change, reason):
  directory = made(tmp_path, pair("bad", **change), pair("good"))
  maker = PairMaker(directory, input_config())
  with pytest.raises(BadRecord, match=reason):
    maker.example(maker.open(directory)[0], random.Random(0))
  split = pair_split(directory, "train", evaluation_config())
  assert split.ids == ["good"] and split.skipped == {reason: 1}


def test_a_split_keeps_truth_and_groups(tmp_path):
  records = [pair("a"), pair("b", true=False, right=50)]
  split = pair_split(
    made(tmp_path, *records, split="test"), "test", evaluation_config()
  )
  assert split.labels.tolist() == [1, 0]
  assert [s.group for s in split.statements] == ["g", "g"]
  rows = np.array([1, 0])
  assert split.right[rows][:, 0, 0, 0].tolist() == [50, 200]
  assert split.left[rows][:, 0, 0, 0].tolist() == [100, 100]
  assert split.encoder.decode(split.tokens[0]) == TEXT


def test_nothing_usable_is_an_error(tmp_path):
  with pytest.raises(InputError, match="no usable statement"):
    pair_split(made(tmp_path, pair("a", count=0)), "train", evaluation_config())
