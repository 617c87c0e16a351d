import json

import pytest
from etils import epath

from data import prepare
from data.errors import PreparationError
from data.sources.vqa import Vqa
from tests.data.coco_source import encoded
from tests.data.sources.reading import dump, put, read


def question(number, image, text="What is  it?"):
  return {"image_id": image, "question": text, "question_id": number}


def answered(number, image, answers, kind="other"):
  return {
    "question_type": "what is",
    "multiple_choice_answer": answers[0],
    "answers": [
      {"answer": text, "answer_confidence": "yes", "answer_id": place}
      for place, text in enumerate(answers, 1)
    ],
    "image_id": image,
    "answer_type": kind,
    "question_id": number,
  }


def write(folder, questions, annotations=None, tag="train2014"):
  shared = {"info": {}, "license": {}, "data_type": "mscoco"}
  dump(
    folder / f"v2_OpenEnded_mscoco_{tag}_questions.json",
    {**shared, "task_type": "Open-Ended", "questions": questions},
  )
  if annotations is not None:
    dump(
      folder / f"v2_mscoco_{tag}_annotations.json",
      {**shared, "data_subtype": tag, "annotations": annotations},
    )
  tag = tag.replace("test-dev", "test")
  for row in questions:
    name = f"COCO_{tag}_{row['image_id']:012d}.jpg"
    put(folder / tag / name, encoded(40, 30))
  return Vqa(epath.Path(folder))


def test_a_picture_holds_all_its_questions(tmp_path):
  source = write(
    tmp_path,
    [question(9000, 9), question(9001, 9, "Is it?"), question(8000, 8)],
    [
      answered(9000, 9, ["dog"] * 7 + ["hound", "a dog", "dog"]),
      answered(9001, 9, ["yes"] * 10, "yes/no"),
      answered(8000, 8, ["cat"] * 10),
    ],
  )
  records, lost = read(source)
  assert lost == [] and list(records["train"]) == ["train-9", "train-8"]
  record = records["train"]["train-9"]
  assert record["questions"] == {
    "id": ["9000", "9001"],
    "text": ["What is it?", "Is it?"],
    "kind": ["other", "yes/no"],
  }
  answers = record["answers"]
  assert answers["text"] == ["dog", "hound", "a dog", "yes"]
  assert answers["count"].tolist() == [8, 1, 1, 10]
  assert answers["question"].tolist() == [0, 0, 0, 1]
  assert record["captions"] == []


def test_the_list_of_answers_comes_from_train_alone(tmp_path):
  answers = ["no"] * 3 + ["yes"] * 2 + ["two"] * 2 + ["maybe"]
  write(
    tmp_path,
    [question(n, 1) for n in range(len(answers))],
    [answered(n, 1, [text] * 10) for n, text in enumerate(answers)],
  )
  rows = [question(n, 2) for n in range(100, 110)]
  source = write(
    tmp_path,
    rows,
    [answered(n, 2, ["val"]) for n in range(100, 110)],
    "val2014",
  )
  source.answer_count = 2
  assert json.loads(source.texts()["answers.json"]) == ["no", "two", "yes"]
  assert list(source.listing().splits) == ["train", "val"]


def test_questions_of_a_test_split_have_no_answers(tmp_path):
  write(tmp_path, [question(1, 5), question(2, 6)], tag="test2015")
  records, lost = read(write(tmp_path, [question(1, 5)], tag="test-dev2015"))
  assert lost == [] and list(records) == ["test", "test_dev"]
  assert list(records["test_dev"]) == ["test_dev-5"]
  assert records["test"]["test-5"]["answers"]["text"] == []


def test_broken_questions_are_left_out_and_named(tmp_path):
  rows = [question(1, 5, ""), question(2, 5), question(3, 5), question(4, 5)]
  source = write(
    tmp_path, rows, [answered(2, 5, [""]), answered(4, 5, ["yes"])]
  )
  records, lost = read(source)
  assert lost == [
    ("question without text", "1"),
    ("question without answers", "2"),
    ("question without answers", "3"),
  ]
  assert records["train"]["train-5"]["questions"]["id"] == ["4"]


def test_broken_rows_cost_themselves_alone(tmp_path):
  rows = [question(1, 5), question(2, 6), question(3, 7), question(4, 8)]
  given = [answered(n, n + 4, ["yes"] * 10) for n in (1, 2, 3, 4)]
  rows[1]["image_id"] = "six"
  given[2]["answers"] = "yes"
  given[3]["answers"][0] = None
  given[3]["multiple_choice_answer"] = "yes\ud800"
  source = write(tmp_path, rows[:1], given)
  path = tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json"
  dump(path, {"questions": [*rows, 3]})
  put(tmp_path / "train2014" / f"COCO_train2014_{8:012d}.jpg", encoded(40, 30))
  source.answer_count = 3
  records, lost = read(source)
  assert list(records["train"]) == ["train-5", "train-8"]
  assert records["train"]["train-8"]["answers"]["count"].tolist() == [9]
  assert [where for _, where in lost] == [
    f"{path.name}: questions 1",
    f"{path.name}: questions 4",
    "v2_mscoco_train2014_annotations.json: annotations 2",
    "3",
  ]
  assert json.loads(source.texts()["answers.json"]) == ["yes"]


def test_missing_files_are_named(tmp_path):
  with pytest.raises(PreparationError, match="holds no questions"):
    Vqa(epath.Path(tmp_path)).listing()
  with pytest.raises(PreparationError, match="v2_mscoco_train2014_annotations"):
    write(tmp_path, [question(1, 5)]).listing()


def test_a_prepared_directory_knows_the_words_of_questions(tmp_path):
  rows = [question(1, 5, "Which zebra is it?"), question(2, 6)]
  given = [answered(n, n + 4, ["okapi"] * 10) for n in (1, 2)]
  write(tmp_path / "in", rows, given)
  out = tmp_path / "out"
  arguments = ["vqa", "--source", tmp_path / "in", "--out", out]
  arguments += ["--workers", 1, "--answer-count", 2]
  assert prepare.main([str(argument) for argument in arguments]) == 0
  words = (out / "tokenizer" / "vocab.txt").read_text().split()
  assert {"zebra", "okapi"} <= set(words)
  assert json.loads((out / "answers.json").read_text()) == ["okapi"]
  report = json.loads((out / "report.json").read_text())
  assert report["written"] == {"train": 2}
