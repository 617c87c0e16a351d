"""Captions of a split: scores, chance, and the file for a server."""

import dataclasses
import json

import numpy as np
import pytest

from slan_jax.evaluation import caption_scores, caption_words
from slan_jax.evaluation.cases import read_cases
from slan_jax.jobs import captioning
from slan_jax.jobs.experiment import caption_prompt, read_tokenizer
from slan_jax.jobs.setting import Setting
from slan_jax.tasks.decoding import Text
from slan_jax.tasks.task import Task
from slan_jax.training.sharding import make_mesh
from tests.input.prepared import plain_records, write_dataset
from tests.jobs.light import light_experiment


@pytest.fixture(autouse=True)
def without_java(monkeypatch):
  """What Java computes is tested where it is computed."""
  for module in (caption_scores, caption_words):
    monkeypatch.setattr(module, "java_path", lambda: None)


def setting(scenes, predict, task="captioning", **changes):
  """A split of eight images, and predict functions that need no model."""
  experiment, encoder = read_tokenizer(light_experiment(scenes, **changes))
  experiment = dataclasses.replace(experiment, task=task)
  made = Task(task, {}, lambda key: None, lambda: None, predict, ())
  mesh = make_mesh(experiment.mesh)
  return Setting(experiment, encoder, made, mesh, "test", (8,), None)


def writer(encoder, texts):
  """A `caption` that writes these texts, whatever the images."""
  tokens = encoder(texts).ids[:, 1:]
  tokens = np.where(tokens == encoder.sep_id, encoder.pad_id, tokens)

  def caption(params, image, rows):
    return Text(tokens[rows % len(tokens)], np.zeros(len(image)))

  return {"caption": caption}


def test_true_captions_score_full_and_chance_is_anothers(
  scenes, tmp_path, monkeypatch
):
  wanted = setting(scenes, {})
  split = captioning.retrieval_split(*wanted.source)
  first = np.unique(split.text_image, return_index=True)[1]
  true = [split.texts[row] for row in first]
  made = setting(scenes, writer(wanted.encoder, true))
  monkeypatch.setattr(captioning, "write_captions", uncompiled)
  found = captioning.open_scorer(made)(None, tmp_path)
  assert found["metrics"]["bleu4"] == pytest.approx(100.0, abs=1e-3)
  assert found["metrics"]["rouge_l"] == pytest.approx(100.0)
  assert found["metrics"]["cider"] > found["chance"]["cider"] > 0
  total = found["metrics"]["cider"] + found["metrics"]["bleu4"]
  assert found["metrics"]["cider_bleu4"] == pytest.approx(total)
  assert found["samples"]["images"] == 8
  assert found["samples"]["captions"] == len(split.texts)
  assert "Prompt 'a picture of', beam search, 3 beams" in found["protocol"]
  rows = json.loads((tmp_path / "results.json").read_text())
  assert [row["caption"] for row in rows] == true
  assert [row["image_id"] for row in rows] == split.ids


def uncompiled(predict, params, images, count, batching):
  del batching
  rows = np.arange(count)
  found = predict["caption"](params, images[rows], rows)
  return found.tokens, found.score


@pytest.mark.parametrize("told", [(), ("r1", "r2")])
def test_pictures_whose_captions_are_secret_are_described_too(
  tmp_path, monkeypatch, told
):
  records = plain_records(3)
  for record in records:
    record["captions"] = ["a red dog"] if record["id"] in told else []
  data = write_dataset(tmp_path / "data", test=records)
  wanted = setting(data, {})
  made = setting(data, writer(wanted.encoder, ["a cat", "a red dog"]))
  monkeypatch.setattr(captioning, "write_captions", uncompiled)
  found = captioning.open_scorer(made)(None, tmp_path)
  rows = json.loads((tmp_path / "results.json").read_text())
  assert [row["image_id"] for row in rows] == ["r0", "r1", "r2"]
  assert found["samples"]["images"] == 3
  assert found["samples"]["images_without_caption"] == 3 - len(told)
  assert ("are secret: no metrics" in found["protocol"]) == (not told)
  assert bool(found["metrics"]) == bool(found["chance"]) == bool(told)
  if told:  # of "a red dog" and "a cat", four words of five are right
    assert found["metrics"]["bleu1"] == pytest.approx(
      80 * np.exp(1 - 6 / 5), abs=0.1
    )
    assert read_cases(tmp_path)[0].text == "a red dog"


def test_a_decoder_that_never_learned_is_not_scored(scenes):
  with pytest.raises(ValueError, match="decoder of this run never learned"):
    captioning.open_scorer(
      setting(scenes, {}, task="pretrain", objective__lm=0.0)
    )
  learned = setting(scenes, {}, task="pretrain", objective__lm=1.0)
  assert callable(captioning.open_scorer(learned))
  with pytest.raises(ValueError, match="never learned"):  # answers are others
    captioning.open_scorer(setting(scenes, {}, task="vqa"))


def test_a_prompt_belongs_to_what_learned_it(scenes):
  given = setting(scenes, {})
  options, encoder = given.experiment.captioning, given.encoder
  (row,) = encoder([options.prompt]).ids
  found = caption_prompt("captioning", options, encoder)
  assert found and found == tuple(row[1 : len(found) + 1])
  assert row[len(found) + 1] == encoder.sep_id
  assert caption_prompt("pretrain", options, encoder) == ()
  plain = dataclasses.replace(given.experiment, task="pretrain")
  assert "No prompt" in captioning._protocol(plain)
