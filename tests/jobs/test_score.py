"""Official result files, scored by the command."""

import json
import sys

import numpy as np
import pytest

from data.parts import question_fields, statement_fields
from data.row import QuestionRow, StatementRow
from data.schema import record
from slan_jax.evaluation import caption_scores, caption_words, result_file
from slan_jax.jobs import score
from tests.input.prepared import picture, write_dataset

LEFT = [0.0, 0.25, 0.5, 0.75]


def picture_record(name, captions=(), label="dog", **extra):
  made = record(
    name,
    picture(9),
    (16, 16),
    list(captions),
    objects=[(label, np.array(LEFT, np.float32), False)],
  )
  return {**made, **extra}


def leave(monkeypatch, *arguments):
  """Exit code of the command."""
  monkeypatch.setattr(sys, "argv", ["slan-score", *map(str, arguments)])
  with pytest.raises(SystemExit) as left:
    score.main()
  return left.value.code


def test_answers(tmp_path, monkeypatch, capsys):
  asked = [
    QuestionRow("1", "who?", "other", {"me": 10}),
    QuestionRow("x", "how many?", "number", {"2": 8, "3": 2}),
  ]
  data = write_dataset(
    tmp_path / "data",
    parts=("questions",),
    test=[picture_record("a", **question_fields(asked))],
  )
  results, output = tmp_path / "results.json", tmp_path / "scores.json"
  result_file.write_answers(results, {"1": "me", "x": "three"})
  given = ["--task=vqa", f"--results={results}", f"--data={data}"]
  assert leave(monkeypatch, *given, f"--output={output}") == 0
  found = json.loads(output.read_text())
  assert found == json.loads(capsys.readouterr().out)
  assert found["metrics"] == {
    "vqa_accuracy": pytest.approx(80),
    "vqa_accuracy_other": 100,
    "vqa_accuracy_number": pytest.approx(60),
  }
  assert found["samples"] == {"images": 1, "questions": 2}
  assert found["chance"]["vqa_accuracy"] == 100
  result_file.write_answers(results, {"1": "me"})
  assert leave(monkeypatch, *given) == 2
  assert "1 questions without an answer: x" in capsys.readouterr().err


def test_judgements(tmp_path):
  records = [
    picture_record(
      f"r{n}",
      **statement_fields([StatementRow("so", n % 2 == 0, f"g{n // 2}")]),
    )
    for n in range(4)
  ]
  data = write_dataset(tmp_path / "data", parts=("statements",), test=records)
  results = tmp_path / "nlvr.csv"
  said = {"r0": True, "r1": False, "r2": True, "r3": True}
  result_file.write_judgements(results, said)
  found = score.score_file("nlvr2", results, data=data)
  assert found["metrics"] == {"accuracy": 75, "consistency": 50}
  assert found["chance"] == {"accuracy": 50, "consistency": 25}
  result_file.write_judgements(results, {**said, "r9": True})
  with pytest.raises(ValueError, match=r"judges 1 statements.*not in.*r9"):
    score.score_file("nlvr2", results, data=data)
  result_file.write_judgements(results, {"r0": True})
  with pytest.raises(ValueError, match=r"lacks 3 statements.*are in.*r1"):
    score.score_file("nlvr2", results, data=data)


def test_captions_from_both_kinds_of_truth(tmp_path, monkeypatch):
  for module in (caption_scores, caption_words):  # Java is tested elsewhere
    monkeypatch.setattr(module, "java_path", lambda: None)
  told = {"7": ["a red dog", "a dog"], "8": ["two cats", "cats in a box"]}
  records = [picture_record(name, texts) for name, texts in told.items()]
  data = write_dataset(tmp_path / "data", test=records)
  rows = [
    {"image_id": int(name), "caption": text}
    for name, texts in told.items()
    for text in texts
  ]
  truth = tmp_path / "captions_val2014.json"
  truth.write_text(json.dumps({"images": [], "annotations": rows}))
  results = tmp_path / "results.json"
  result_file.write_captions(results, {"7": "a red dog", "8": "two dogs"})
  ours = score.score_file("captioning", results, data=data)
  theirs = score.score_file("captioning", results, truth=truth)
  assert ours == theirs
  assert ours["metrics"]["bleu1"] == pytest.approx(80)  # four words of five
  assert ours["samples"] == {"images": 2, "references": 4}


def test_detections_from_both_kinds_of_truth(tmp_path):
  data = write_dataset(tmp_path / "data", test=[picture_record("7")])
  box = {"image_id": 7, "category_id": 1, "bbox": [0, 4, 8, 8]}
  truth = tmp_path / "instances.json"
  truth.write_text(
    json.dumps(
      {
        "images": [{"id": 7, "width": 16, "height": 16}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{**box, "id": 1, "area": 64, "iscrowd": 0}],
      }
    )
  )
  results = tmp_path / "results.json"
  result_file.write_detections(results, [{**box, "score": 0.5}])
  ours = score.score_file("detection", results, data=data)
  assert ours == score.score_file("detection", results, truth=truth)
  assert ours["metrics"]["ap"] == pytest.approx(100)
  assert ours["metrics"]["ap50_dog"] == pytest.approx(100)
  assert ours["samples"] == {"images": 1, "objects": 1, "detections": 1}
  other = {**box, "image_id": 8, "score": 0.5}
  result_file.write_detections(results, [other])
  with pytest.raises(ValueError, match="about image 8"):
    score.score_file("detection", results, truth=truth)


def test_classes_are_numbered_by_those_of_training(tmp_path):
  """As slan-eval does: a split may lack a class."""
  data = write_dataset(
    tmp_path / "data",
    train=[picture_record("a", label="cat"), picture_record("b")],
    test=[picture_record("7")],
  )
  box = {"image_id": 7, "category_id": 2, "bbox": [0, 4, 8, 8], "score": 0.5}
  result_file.write_detections(tmp_path / "results.json", [box])
  found = score.score_file("detection", tmp_path / "results.json", data=data)
  assert found["metrics"]["ap50_dog"] == pytest.approx(100)


@pytest.mark.parametrize(
  "arguments,message",
  [
    ([], "give the truth as --data DIR, or as --truth FILE, one of them"),
    (["--truth=x.json", "--data=y"], "one of them"),
    (["--truth=/nonexistent.json"], "/nonexistent.json: not a file of COCO's"),
    (["--data=/nonexistent"], "'/nonexistent' is not a prepared data set"),
  ],
)
def test_what_is_missing_is_named(
  tmp_path, monkeypatch, capsys, arguments, message
):
  results = tmp_path / "results.json"
  result_file.write_detections(results, [])
  given = ["--task=detection", f"--results={results}", *arguments]
  assert leave(monkeypatch, *given) == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize(
  "text",
  ["[]", "{}", '{"annotations": [{"image_id": 1}]}', '{"annotations": 1}'],
)
def test_annotations_of_another_form_are_refused(tmp_path, text):
  truth, results = tmp_path / "captions.json", tmp_path / "results.json"
  truth.write_text(text)
  result_file.write_captions(results, {"1": "a"})
  with pytest.raises(ValueError, match=r"captions\.json: not a file of COCO's"):
    score.score_file("captioning", results, truth=truth)


def test_a_truth_that_only_the_server_knows_is_told(tmp_path):
  results, truth = tmp_path / "results.json", tmp_path / "image_info.json"
  truth.write_text(json.dumps({"images": [{"id": 7}], "categories": []}))
  mute = {**picture_record("7"), "captions": []}
  mute["objects"] = {key: [] for key in mute["objects"]}
  mute["objects"] |= {"box": np.zeros((0, 4), np.float32)}
  data = write_dataset(tmp_path / "data", test=[mute])
  (data / "categories.json").write_text('[{"id": 1, "name": "dog"}]')
  result_file.write_captions(results, {"7": "a dog"})
  for given in ({"truth": truth}, {"data": data}):
    with pytest.raises(ValueError, match="known to the server alone"):
      score.score_file("captioning", results, **given)
  result_file.write_detections(results, [])
  for given in ({"truth": truth}, {"data": data}):
    with pytest.raises(ValueError, match="known to the server alone"):
      score.score_file("detection", results, **given)


def test_official_annotations_are_cocos_alone(tmp_path):
  with pytest.raises(ValueError, match="--task vqa: give the truth as --data"):
    score.score_file("vqa", tmp_path / "x", truth=tmp_path / "y")
