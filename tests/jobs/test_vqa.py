"""Answers to a split's questions: scores, and the file for a server."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from slan_jax.input.parts import Question
from slan_jax.input.questions import QuestionSplit
from slan_jax.jobs import catalog, vqa
from slan_jax.jobs.typed import ConfigError
from tests.jobs.test_captioning import setting

ASKED = [
  Question("7", "what colour is the star ?", "colour", {"red": 10}),
  Question("8", "is there a star ?", "exists", {"yes": 9, "no": 1}),
  Question("9", "is there a ring ?", "exists", {"yes": 5, "no": 5}),
]
LIST = ["yes", "no", "red", "Yes"]  # the last one reads like the first


@pytest.fixture
def asked(scenes, monkeypatch):
  """(answers, options) -> the outcome and result file for these questions."""

  def run(tmp_path, questions, answers, **changes):
    made = setting(scenes, {}, task="vqa", **changes)
    encoded = made.encoder([question.text for question in questions])
    split = QuestionSplit(
      questions=questions,
      images=np.zeros((1, 8, 8, 3), np.uint8),
      image_ids=["one"],
      question_image=np.zeros(len(questions), np.int32),
      tokens=encoded.ids,
      mask=encoded.mask,
      skipped=Counter(),
      encoder=made.encoder,
    )
    monkeypatch.setattr(vqa, "question_split", lambda *a, **k: split)
    ranked = made.experiment.vqa.inference == "rank"
    needed = (lambda *a: LIST) if ranked else pytest.fail
    monkeypatch.setattr(vqa, "read_answers", needed)

    def answer(predict, params, images, questions, listed, batching):
      if listed is None:
        ids = made.encoder(answers).ids[:, 1:4]
        return np.where(ids == made.encoder.sep_id, made.encoder.pad_id, ids)
      assert listed[0].shape == (3, 10)  # the list, encoded
      return np.array([LIST.index(text) for text in answers])

    monkeypatch.setattr(vqa, "answer_questions", answer)
    found = vqa.open_scorer(made)(None, tmp_path)
    return found, json.loads((tmp_path / "results.json").read_text())

  return run


@pytest.mark.parametrize("inference", ["rank", "generate"])
def test_accuracy_by_kind_beside_the_best_single_answers(
  asked, tmp_path, inference
):
  found, rows = asked(
    tmp_path, ASKED, ["red", "yes", "red"], vqa__inference=inference
  )
  assert rows == [
    {"question_id": 7, "answer": "red"},
    {"question_id": 8, "answer": "yes"},
    {"question_id": 9, "answer": "red"},
  ]
  assert found["metrics"]["vqa_accuracy_colour"] == 100.0
  assert found["metrics"]["vqa_accuracy_exists"] == 50.0
  assert found["chance"]["vqa_accuracy"] == pytest.approx(100.0)
  assert found["score"] == inference
  assert found["samples"]["questions_without_answer"] == 0
  how = "beam search with 3"
  if inference == "rank":
    how = "1 further ones read like an earlier one, in 10 tokens"
    assert "3 of a list of 3 answers" in found["protocol"]
    assert found["samples"]["answers_merged"] == 1
  assert how in found["protocol"] and "Of " not in found["protocol"]


def test_secret_answers_give_a_file_and_no_metrics(asked, tmp_path):
  secret = [question._replace(answers={}) for question in ASKED]
  found, rows = asked(tmp_path, secret, ["red", "no", "no"])
  assert len(rows) == 3 and not found["metrics"] and not found["chance"]
  assert "are secret: no metrics" in found["protocol"]
  mixed = [secret[0], *ASKED[1:]]
  found, _ = asked(tmp_path, mixed, ["red", "yes", "yes"])
  assert found["samples"]["questions_without_answer"] == 1
  assert "vqa_accuracy_colour" not in found["metrics"]


def test_secret_answers_cannot_choose_a_checkpoint(
  scenes, monkeypatch, tmp_path
):
  made = setting(scenes, {}, task="vqa")
  entry = catalog.CATALOG["vqa"]._replace(
    open_scorer=lambda setting: lambda params, output: {"metrics": {}}
  )
  monkeypatch.setitem(catalog.CATALOG, "vqa", entry)
  evaluate = catalog.training_evaluation(
    made.experiment, made.encoder, made.task, made.mesh, tmp_path, None
  )
  with pytest.raises(ConfigError, match=r"evaluation_split='val'.*are secret"):
    evaluate(SimpleNamespace(params=None, ema=None), 0)
