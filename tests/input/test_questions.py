import json
import random

import numpy as np
import pytest

from data.parts import question_fields
from data.row import QuestionRow
from data.schema import record
from slan_jax.input.answers import encode_answers, read_answers
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.parts import PartSource
from slan_jax.input.questions import QuestionMaker, question_split
from slan_jax.input.text import load_encoder
from tests.input.prepared import (
  evaluation_config,
  input_config,
  picture,
  plain_records,
  write_dataset,
)

PARTS = ("questions",)
LEFT = QuestionRow("7", "the dog on the left?", "other", {"red": 3, "left": 7})
BLUE = QuestionRow("8", "the cat?", "yes/no", {"blue": 1, "the": 1, "a": 8})
SECRET = QuestionRow("9", "two dogs?", "", {})


def asked(name, *questions, image=None):
  made = record(name, picture(9) if image is None else image, (16, 16), [])
  return {**made, **question_fields(questions)}


@pytest.fixture
def directory(tmp_path):
  (tmp_path / "answers.json").write_text(json.dumps(["a", "left", "red"]))
  return write_dataset(
    tmp_path,
    parts=PARTS,
    train=[asked("one", LEFT, BLUE), asked("two", SECRET)],
    test=[
      asked("one", LEFT, BLUE),
      asked("bad", BLUE, image=b"text"),
      asked("two", SECRET),
    ],
  )


def maker(directory, **changes):
  config = input_config(**changes)
  return QuestionMaker(directory, config, answers=2, answer_length=5)


def examples(directory, count, **changes):
  made = maker(directory, **changes)
  first = made.open(directory)[0]
  return made, [made.example(first, random.Random(n)) for n in range(count)]


def test_answers_come_with_the_share_of_people(directory):
  made, (example,) = examples(directory, 1)
  assert example.question == "the dog on the left?"
  assert example.answers == [("left", 0.7), ("red", 0.3)]
  batch, cut = made.batch([example, example])
  assert cut == [] and batch["image"].shape == (2, 16, 16, 3)
  assert batch["answers"].shape == (2, 2, 5)
  np.testing.assert_allclose(batch["answer_weight"], [[0.7, 0.3]] * 2)
  assert made.encoder.decode(batch["answers"][0, 0]) == "left"
  assert batch["answers"][0, 0, 0] == made.encoder.cls_id
  assert batch["answers"][0, 0, 2] == made.encoder.sep_id
  assert batch["answers_mask"][0].sum(-1).tolist() == [3, 3]


def test_the_rarest_answers_are_dropped_and_weights_stay(directory):
  made, rows = examples(directory, 40, caption="random")
  drawn = {row.question: row.answers for row in rows}
  assert drawn == {
    "the dog on the left?": [("left", 0.7), ("red", 0.3)],
    "the cat?": [("a", 0.8), ("blue", 0.1)],  # "the" comes after "blue"
  }
  batch, _ = made.batch([row for row in rows if row.question == "the cat?"])
  np.testing.assert_allclose(batch["answer_weight"][0], [0.8, 0.1])


def test_a_flip_changes_the_words_of_question_and_answer(directory):
  _, rows = examples(directory, 30, flip=True)
  seen = {
    (row.question, row.answers[0][0], int(row.image[0, 0, 0])) for row in rows
  }
  assert seen == {
    ("the dog on the left?", "left", 9),
    ("the dog on the right?", "right", 0),  # the grey half moved away
  }


def test_questions_without_answers_are_not_trained_on(directory):
  made = maker(directory)
  with pytest.raises(BadRecord, match="no question with answers"):
    made.example(made.open(directory)[1], random.Random(0))


def test_long_texts_are_cut_and_told(directory):
  made = QuestionMaker(
    directory, input_config(max_length=4), answers=1, answer_length=3
  )
  example = made.example(made.open(directory)[0], random.Random(0))
  long = example._replace(answers=[("red dog", 1.0)])
  _, cut = made.batch([example, long])
  assert cut == [(0, "truncated"), (1, "truncated"), (1, "answer truncated")]


def test_a_split_keeps_every_question(directory):
  made = question_split(directory, "test", evaluation_config())
  assert [q.id for q in made.questions] == ["7", "8", "9"]
  assert made.question_image.tolist() == [0, 0, 1]
  assert made.image_ids == ["one", "two"]
  assert made.skipped == {"corrupt image": 1}
  assert made.questions[1].answers == BLUE.answers
  assert made.questions[2].answers == {}  # of a test split, kept secret
  assert made.images[np.array([0, 1])].shape == (2, 16, 16, 3)
  assert made.encoder.decode(made.tokens[1]) == "the cat?"
  few = question_split(directory, "test", evaluation_config(), limit=1)
  assert len(few.questions) == 2


@pytest.mark.parametrize(
  "text,message",
  [
    (None, "No such file"),
    ("{", "Expecting property name"),
    ('{"a": 1}', "expected a list of texts"),
    ('["a", 3]', "expected a list of texts"),
    ('["a", "b", "a"]', "holds 'a' twice"),
    ("[]", "holds no answer"),
  ],
)
def test_a_bad_list_of_answers_is_refused(tmp_path, text, message):
  if text is not None:
    (tmp_path / "answers.json").write_text(text)
  with pytest.raises(InputError, match=message):
    read_answers(tmp_path)


def test_answers_of_the_same_tokens_are_one(directory):
  encoder = load_encoder("dataset", 4, directory)
  told = ["red dog", "Red  dog", "\u0416", "cat", "\u0414", "red dog of a"]
  found = encode_answers([*told, "two red dogs"], encoder)
  # A marked one is unknown, as another; the last but one reads as the first.
  assert found.texts == ["red dog", "\u0416", "cat", "two red dogs"]
  assert found.merged == 3 and found.cut == 1
  assert encoder.decode(found.ids[3]) == "two red"
  assert found.ids.shape == found.mask.shape == (4, 4)
  assert found.mask.sum(1).tolist() == [4, 3, 3, 4]


def test_data_without_questions_is_an_error(tmp_path):
  write_dataset(tmp_path, test=plain_records(1))
  with pytest.raises(InputError, match="have no answers, no questions"):
    question_split(tmp_path, "test", evaluation_config())


def test_a_damaged_answer_costs_its_record(tmp_path):
  made = asked("one", LEFT)
  made["answers"]["question"][1] = 5
  write_dataset(tmp_path, parts=PARTS, train=[made])
  with pytest.raises(BadRecord, match="unreadable record"):
    PartSource(tmp_path, "train", ())[0]
