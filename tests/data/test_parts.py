import numpy as np

from data import schema
from data.parts import (
  image_fields,
  learnable_texts,
  part_features,
  question_fields,
  statement_fields,
)
from data.row import QuestionRow, StatementRow

PARTS = ("questions", "statements", "more_images")


def test_parts_survive_storage():
  features = schema.features(**part_features(PARTS))
  questions = [
    QuestionRow("q1", "why?", "other", {"so": 2, "no": 1}),
    QuestionRow("q2", "who?", "", {"me": 10}),
  ]
  made = {
    **schema.record("a", b"\x89PNG", (4, 5), []),
    **question_fields(questions),
    **statement_fields([StatementRow("it is", True, "g")]),
    **image_fields([(b"\x89PNG1", (6, 7)), (b"\x89PNG2", (8, 9))]),
  }
  skip = schema.tfds.decode.SkipDecoding()
  stored = schema.Serialiser(features)(made)
  back = features.deserialize_example_np(stored, decoders={"image": skip})
  assert list(back["more_images"]["image"]) == [b"\x89PNG1", b"\x89PNG2"]
  np.testing.assert_array_equal(back["more_images"]["height"], [7, 9])
  assert list(back["questions"]["text"]) == [b"why?", b"who?"]
  assert list(back["answers"]["text"]) == [b"so", b"no", b"me"]
  np.testing.assert_array_equal(back["answers"]["question"], [0, 0, 1])
  np.testing.assert_array_equal(back["answers"]["count"], [2, 1, 10])
  assert list(back["statements"]["true"]) == [True]


def test_a_data_set_has_the_parts_it_asks_for():
  assert set(part_features(["questions"])) == {"questions", "answers"}
  assert part_features([]) == {}


def test_parts_may_be_empty():
  made = {**question_fields([]), **image_fields([])}
  assert made["answers"]["count"].dtype == np.int32
  assert made["more_images"]["image"] == []


def test_a_vocabulary_is_learned_from_every_text():
  made = {
    **schema.record("a", b"", (4, 5), ["a dog"]),
    **question_fields([QuestionRow("1", "why?", "other", {"so": 1})]),
    **statement_fields([StatementRow("it is", True, "g")]),
  }
  assert learnable_texts(made) == ["a dog", "why?", "so", "it is"]
  assert learnable_texts(schema.record("a", b"", (4, 5), ["x"])) == ["x"]
