"""Pairs of captions as preparation wrote them, beside their pictures."""

import json

import numpy as np
import pytest

from slan_jax.input.counterfactual import FILE, counterfactual_split
from slan_jax.input.errors import InputError
from slan_jax.input.source import EvaluationSource
from tests.input.prepared import (
  evaluation_config,
  plain_records,
  write_dataset,
)

CONFIG = evaluation_config(image_size=64, max_length=32)


def row(number, **changes):
  plain = {
    "record": number,
    "id": f"r{number}",
    "kind": "colour",
    "captions": ["a red dog", "a blue dog"],
    "spans": [[0, 9], [0, 10]],
    "boxes": [[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 1.0, 1.0]],
  }
  return plain | changes


def prepared(tmp_path, rows, records=None):
  directory = write_dataset(tmp_path, test=records or plain_records(3))
  (directory / FILE).write_text(json.dumps({"test": rows}))
  return directory


def read(directory, split="test", limit=9):
  config = evaluation_config()
  return counterfactual_split(directory, split, config, limit=limit)


def test_a_pair_is_two_examples_of_one_picture(tmp_path):
  split, kinds = read(prepared(tmp_path, [row(0), row(2, kind="size")]))
  assert kinds == ["colour", "size"]
  assert [e.caption for e in split.examples] == ["a red dog", "a blue dog"] * 2
  for place, example in enumerate(split.examples):
    (phrase,) = example.phrases
    assert phrase.text == example.caption
    inside = split.tokens[place][split.phrase_tokens[place, 0]]
    assert split.encoder.decode(inside) == phrase.text
    assert phrase.size == ("large" if place % 2 else "small")
  np.testing.assert_allclose(
    split.examples[1].phrases[0].boxes, [[0.5, 0.5, 1, 1]]
  )
  assert split.image.tolist() == [0, 0, 1, 1]
  assert (split.images[0] != split.images[1]).any()


def test_limit_and_absence(tmp_path):
  directory = prepared(tmp_path, [row(0), row(1)])
  assert len(read(directory, limit=1).kinds) == 1
  (directory / FILE).write_text("{}")
  assert read(directory) is None
  (directory / FILE).unlink()
  assert read(directory) is None


def test_a_broken_picture_is_left_out_and_counted(tmp_path):
  records = plain_records(2)
  records[0]["image"] = b"text"
  found = read(prepared(tmp_path, [row(0), row(1), row(7)], records))
  assert found.kinds == ["colour"]
  assert found.split.skipped["corrupt image"] == 1
  assert found.split.skipped["unreadable record"] == 1  # there is no eighth


@pytest.mark.parametrize(
  "text", ["{", "[]", '{"test": [{}]}', '{"test": [3]}'],
  ids=["no JSON", "a list", "no fields", "no object"],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, text):
  directory = prepared(tmp_path, [])
  (directory / FILE).write_text(text)
  with pytest.raises(InputError, match=f"{FILE} is damaged"):
    read(directory)


def test_pairs_of_other_records_are_refused(tmp_path):
  with pytest.raises(InputError, match="record 1 of 'test' is 'r1', not 'x'"):
    read(prepared(tmp_path, [row(1, id="x")]))


def test_scenes_ask_for_objects_of_the_picture(scenes):
  split, kinds = counterfactual_split(scenes, "test", CONFIG, limit=100)
  assert len(split.examples) == 2 * len(kinds) > 20
  assert split.phrase_tokens.any(-1).all()  # nothing is cut off
  assert not split.skipped


def test_scenes_name_boxes_that_grounding_knows(scenes):
  pairs = json.loads((scenes / FILE).read_text())
  for name, rows in pairs.items():
    source = EvaluationSource(scenes, name)
    for pair in rows:
      own = source[pair["record"]].boxes.tolist()
      assert all(box in own for box in pair["boxes"])
  assert set(pairs) == {"val", "test"}
