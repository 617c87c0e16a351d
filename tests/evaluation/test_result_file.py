import json

import pytest

from slan_jax.evaluation import result_file


def test_answers_are_written_as_the_server_takes_them(tmp_path):
  path = tmp_path / "deep" / "answers.json"
  answers = {"262148000": "net", "test-000001-2": "größer", "007": "x"}
  result_file.write_answers(path, answers)
  assert json.loads(path.read_text("utf-8")) == [
    {"question_id": 262148000, "answer": "net"},
    {"question_id": "test-000001-2", "answer": "größer"},
    {"question_id": "007", "answer": "x"},
  ]
  assert result_file.read_answers(path) == answers


def test_captions_are_written_as_the_server_takes_them(tmp_path):
  path = tmp_path / "captions.json"
  result_file.write_captions(path, {"404464": "a man", "test-1": ""})
  assert json.loads(path.read_text()) == [
    {"image_id": 404464, "caption": "a man"},
    {"image_id": "test-1", "caption": ""},
  ]
  assert result_file.read_captions(path) == {"404464": "a man", "test-1": ""}


def test_detections_go_both_ways(tmp_path):
  path = tmp_path / "boxes.json"
  row = {
    "image_id": 42,
    "category_id": 18,
    "bbox": [258.15, 41.29, 348.26, 243.78],
    "score": 0.236,
  }
  result_file.write_detections(path, [row])
  assert result_file.read_detections(path) == [row]
  result_file.write_detections(path, [])
  assert result_file.read_detections(path) == []


def test_judgements_are_lines(tmp_path):
  path = tmp_path / "nlvr.csv"
  result_file.write_judgements(path, {"test1-0-1-0": True, "test1-0-0-0": 0})
  assert path.read_text() == "test1-0-1-0,True\ntest1-0-0-0,False\n"
  assert result_file.read_judgements(path) == {
    "test1-0-1-0": True,
    "test1-0-0-0": False,
  }


@pytest.mark.parametrize(
  "text,message",
  [
    ("a,True\nb,maybe\n", r"nlvr\.csv:2: 'b,maybe'; expected"),
    ("True\n", "expected identifier,True"),
    ("a,True\na,True\n", "csv:2: a stands twice"),
  ],
)
def test_lines_that_are_no_judgement_are_named(tmp_path, text, message):
  path = tmp_path / "nlvr.csv"
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    result_file.read_judgements(path)


@pytest.mark.parametrize(
  "text,message",
  [
    ("", "not a result file"),
    ('[{"question_id": 1, "answer": "a"', "not a result file"),
    ('{"question_id": 1, "answer": "a"}', "expected a list of objects"),
    ("[3]", "row 0: question_id is None"),
    ('[{"question_id": 1}]', "row 0: answer is None"),
    ('[{"question_id": true, "answer": "a"}]', "question_id is True"),
    ('[{"question_id": 1, "answer": 2}]', "answer is 2"),
    (
      '[{"question_id": 1, "answer": "a"}, {"question_id": 1, "answer": "b"}]',
      "question 1 stands twice",
    ),
  ],
)
def test_files_that_are_none_are_named(tmp_path, text, message):
  path = tmp_path / "bad.json"
  path.write_text(text)
  with pytest.raises(ValueError, match=message) as caught:
    result_file.read_answers(path)
  assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"none\.json: not a result file"):
    result_file.read_captions(tmp_path / "none.json")


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, None]])
def test_boxes_have_four_numbers(tmp_path, box):
  path = tmp_path / "boxes.json"
  row = {"image_id": 1, "category_id": 1, "bbox": box, "score": 1}
  path.write_text(json.dumps([row]))
  with pytest.raises(ValueError, match="row 0: bbox is"):
    result_file.read_detections(path)


def test_nan_is_never_written(tmp_path):
  row = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
  with pytest.raises(ValueError, match="not JSON compliant"):
    result_file.write_detections(
      tmp_path / "x.json", [{**row, "score": float("nan")}]
    )
  assert not (tmp_path / "x.json").exists()
