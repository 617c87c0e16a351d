import json
import os
from pathlib import Path

import pytest

from slan_jax.evaluation import caption_scores, caption_words
from slan_jax.evaluation.caption_scores import score_captions
from slan_jax.evaluation.caption_words import java_path

REFERENCES = {
  "1": [
    "A man is riding a red bicycle.",
    "a cyclist on a bike",
    "The man rides his bicycle down the street!",
  ],
  "2": ["two dogs play in the grass", "Two brown dogs, playing."],
  "3": ["It's a t-shirt (blue)", "a blue shirt"],
  "4": ["nothing here"],
}
CAPTIONS = {
  "4": "",  # nothing was said; in another order than the references
  "3": "a blue t-shirt",
  "2": "Two dogs.",
  "1": "a man riding a bicycle down the street",
}
# What the official evaluator gives for these, in percent.
OFFICIAL = {
  "bleu1": 73.51414804785861,
  "bleu2": 61.50634905564165,
  "bleu3": 42.991334579033497,
  "bleu4": 32.87652646685589,
  "rouge_l": 49.25778517775141,
  "cider": 153.1897166505265,
  "meteor": 30.25054338191279,
}
OFFICIAL_EACH = {
  "bleu1": [99.99999997500004, 36.787944080356343, 99.99999993333338, 0.0],
  "rouge_l": [67.47787610619468, 62.88659793814433, 66.66666666666666, 0.0],
  "cider": [230.6065090587311, 190.15260788016985, 191.9997496632051, 0.0],
  "meteor": [42.04601658880015, 17.691468963789833, 41.97512445337911, 0.0],
}


def without_java(monkeypatch):
  for module in (caption_scores, caption_words):
    monkeypatch.setattr(module, "java_path", lambda: None)


def assert_official(report, names):
  assert list(report.metrics) == names
  for name in names:
    assert report.metrics[name] == pytest.approx(OFFICIAL[name], abs=1e-6)
    if name in OFFICIAL_EACH:
      each = [report.captions[image][name] for image in REFERENCES]
      assert each == pytest.approx(OFFICIAL_EACH[name], abs=1e-6)


@pytest.mark.skipif(java_path() is None, reason="there is no Java")
def test_scores_are_the_official_ones():
  report = score_captions(REFERENCES, CAPTIONS)
  assert_official(
    report,
    ["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "meteor"],
  )
  assert "Stanford CoreNLP" in report.protocol
  assert "METEOR 1.5." in report.protocol
  assert "SPICE is left out: its models" in report.protocol


def test_without_java_the_rest_is_given_and_the_lack_told(monkeypatch):
  without_java(monkeypatch)
  report = score_captions(REFERENCES, CAPTIONS)
  assert_official(
    report, ["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider"]
  )
  assert "split by built-in rules" in report.protocol
  assert "There is no Java: published scores" in report.protocol
  assert "METEOR is left out: it is a Java program" in report.protocol
  assert "install a Java runtime" in report.protocol
  told = "SPICE is left out: it is a Java program, and there is no `java`"
  assert f"{told}; its models are not installed." in report.protocol
  monkeypatch.setattr(caption_scores, "_SPICE_MODELS", ())
  report = score_captions(REFERENCES, CAPTIONS)
  assert report.protocol.endswith(f"{told}.")


def test_with_java_the_models_of_spice_alone_are_missed(monkeypatch):
  without_java(monkeypatch)
  monkeypatch.setattr(caption_scores, "_meteor", lambda *_: "")
  monkeypatch.setattr(caption_scores, "java_path", lambda: "java")
  report = score_captions(REFERENCES, CAPTIONS)
  told = "SPICE is left out: its models are not installed."
  assert report.protocol.endswith(told)


def test_a_meteor_that_dies_is_left_out(monkeypatch, tmp_path):
  java = tmp_path / "java"
  java.write_text("#!/bin/sh\nexit 1\n")
  java.chmod(0o755)
  monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
  monkeypatch.setattr(caption_words, "java_path", lambda: None)
  report = score_captions(REFERENCES, CAPTIONS)
  assert "meteor" not in report.metrics and "cider" in report.metrics
  assert "METEOR is left out: its Java program failed" in report.protocol


def test_spice_is_scored_where_its_models_are(monkeypatch):
  """Its models cannot be installed here: its place is taken by a stand-in."""
  monkeypatch.setattr(caption_words, "java_path", lambda: None)
  monkeypatch.setattr(caption_scores, "_meteor", lambda *_: "")
  monkeypatch.setattr(caption_scores, "java_path", lambda: "java")
  monkeypatch.setattr(caption_scores, "_SPICE_MODELS", ())

  class Stand:
    def compute_score(self, gts, res):
      assert sorted(gts) == sorted(res) == ["1", "2", "3", "4"]
      return 0.25, [{"All": {"f": n / 10}} for n in range(4)]

  monkeypatch.setattr("pycocoevalcap.spice.spice.Spice", Stand)
  report = score_captions(REFERENCES, CAPTIONS)
  assert report.metrics["spice"] == 25
  assert report.captions["3"]["spice"] == pytest.approx(20)

  class Failing(Stand):
    def compute_score(self, gts, res):
      raise RuntimeError("Java 8 is needed")

  monkeypatch.setattr("pycocoevalcap.spice.spice.Spice", Failing)
  report = score_captions(REFERENCES, CAPTIONS)
  assert "spice" not in report.metrics
  assert "SPICE is left out: its Java program failed" in report.protocol


@pytest.mark.parametrize(
  "references,captions,message",
  [
    ({}, {}, "no image to score"),
    ({"1": []}, {"1": "a"}, "none of 1 images has a reference.*server alone"),
    ({"1": [], "2": ["b"]}, {"1": "a"}, "1 images without a reference: 1"),
    ({"1": ["a"], "2": ["b"]}, {"1": "a"}, "1 images without a caption: 2"),
    ({"1": ["a"]}, {"1": "a", "9": "b"}, "not in the ground truth: 9"),
  ],
)
def test_bad_input_is_named(references, captions, message):
  with pytest.raises(ValueError, match=message):
    score_captions(references, captions)


@pytest.mark.skipif(
  "SLAN_TEST_DATA" not in os.environ, reason="the official example is not here"
)
def test_the_official_example_gives_its_published_scores(monkeypatch):
  # METEOR was compared once, too; it takes longer than all other tests here.
  without_java(monkeypatch)
  folder = Path(os.environ["SLAN_TEST_DATA"]) / "caption_metrics"
  rows = json.loads(
    (folder / "fakecap_val2014_1000_refs_tokenised.json").read_bytes()
  )
  expected = json.loads((folder / "fakecap_expected.json").read_bytes())
  report = score_captions(
    {str(row["image_id"]): row["refs"] for row in rows},
    {str(row["image_id"]): row["test"] for row in rows},
  )
  theirs = {
    "Bleu_1": "bleu1", "Bleu_2": "bleu2", "Bleu_3": "bleu3", "Bleu_4": "bleu4",
    "ROUGE_L": "rouge_l", "CIDEr": "cider",
  }  # fmt: skip
  published = expected["published_tylin_coco_caption_notebook"]
  recomputed = expected["recomputed_pycocoevalcap_1.2"]
  for their, name in theirs.items():
    ours = report.metrics[name] / 100
    assert ours == pytest.approx(recomputed[their], abs=1e-6)
    assert ours == pytest.approx(published[their], abs=5e-4)
    for image, scores in expected["per_image"].items():
      own = report.captions[image][name] / 100
      assert own == pytest.approx(scores[their], abs=1e-6)
