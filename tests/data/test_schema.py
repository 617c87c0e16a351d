import numpy as np
import pytest

from data import schema


def test_image_id_is_stable():
  # Computed once: stored data must keep its numbers.
  assert schema.image_id("train-000000") == schema.image_id("train-000000")
  assert schema.image_id("a") != schema.image_id("b")
  ids = {schema.image_id(str(number)) for number in range(3000)}
  assert len(ids) == 3000 and max(ids) < 2**31


def test_rows_become_columns():
  record = schema.record(
    "name",
    b"jpeg",
    (6, 4),
    ["a dog and a cat"],
    phrases=[("a dog", 0, 0, 5), ("a cat", 0, 10, 15)],
    phrase_boxes=[(1, [0, 0, 0.5, 1])],
    objects=[("dog", [0, 0, 1, 1], True)],
  )
  assert record["width"] == 6 and record["height"] == 4
  assert record["phrases"]["text"] == ["a dog", "a cat"]
  np.testing.assert_array_equal(record["phrases"]["start"], [0, 10])
  np.testing.assert_array_equal(record["phrase_boxes"]["phrase"], [1])
  np.testing.assert_array_equal(record["phrase_boxes"]["box"], [[0, 0, 0.5, 1]])
  assert record["objects"]["crowd"].tolist() == [True]


def test_evaluation_fields_may_be_empty():
  record = schema.record("name", b"jpeg", (6, 4), ["text"])
  assert record["phrase_boxes"]["box"].shape == (0, 4)
  assert record["objects"]["label"] == []


def test_a_record_survives_storage():
  features = schema.features()
  record = schema.record(
    "name",
    b"\x89PNG",
    (6, 4),
    ["one", "two words"],
    objects=[("dog", [0, 0.25, 1, 1], False), ("cat", [0, 0, 1, 0.5], True)],
  )
  skip = {"image": schema.tfds.decode.SkipDecoding()}
  stored = features.serialize_example(features.encode_example(record))
  back = features.deserialize_example_np(stored, decoders=skip)
  assert back["image"] == b"\x89PNG"
  assert back["captions"] == [b"one", b"two words"]
  assert back["objects"]["label"] == [b"dog", b"cat"]
  np.testing.assert_array_equal(back["objects"]["box"][0], [0, 0.25, 1, 1])
  assert list(back["objects"]["crowd"]) == [False, True]
  assert list(back["phrases"]["text"]) == []


def test_a_wrong_type_is_refused():
  with pytest.raises((TypeError, ValueError)):
    schema.features().encode_example(
      schema.record("name", b"", ("wide", 4), ["text"])
    )


def test_serialising_agrees_with_tfds():
  fields = schema.features(answers=schema.tfds.features.Text())
  record = schema.record(
    "näme",
    b"\x89PNG",
    (6, 4),
    ["one", "zwölf"],
    phrases=[("one", 0, 0, 3)],
    phrase_boxes=[(0, [0, 0.25, 1, 0.3])],
    objects=[("dog", [0, 0.25, 1, 1], True)],
  ) | {"answers": "yes"}
  ours = schema.Serialiser(fields)(record)
  theirs = fields.serialize_example(fields.encode_example(record))
  parse = schema.tf_example_pb2.Example.FromString
  assert parse(ours) == parse(theirs)
  assert ours == schema.Serialiser(fields)(dict(reversed(record.items())))


def test_serialising_refuses_what_does_not_fit():
  serialise = schema.Serialiser(schema.features())
  record = schema.record("name", b"", (6, 4), ["text"])
  with pytest.raises(KeyError, match="answer"):
    serialise({**record, "answer": "yes"})
  with pytest.raises(KeyError, match="width"):
    serialise({key: record[key] for key in record if key != "width"})
  with pytest.raises((TypeError, ValueError)):
    serialise({**record, "width": "wide"})
  with pytest.raises((TypeError, ValueError)):
    serialise({**record, "image": 3})
