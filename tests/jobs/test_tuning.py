"""A downstream run from its data to its scores, with a model of one matrix."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from data import prepare
from slan_jax.jobs import catalog, evaluate, train, workdir
from slan_jax.jobs.evaluate import Request
from slan_jax.jobs.experiment import batch_shape
from slan_jax.tasks import vqa
from slan_jax.tasks.task import Task
from tests.jobs.light import STEPS, light_experiment


def matching_task(experiment, encoder) -> Task:
  """Questions' words against answers' words; the picture's mean colour too."""
  shape = batch_shape(experiment, encoder)
  words = experiment.model.text.vocab_size

  def init(key):
    table = jax.random.normal(key, (words, words)) / 10
    return {"slan": {"table": table}, "objective": {}}, {}

  def scores(params, ids, mask, answers):
    asked = jnp.sum(jax.nn.one_hot(ids, words) * mask[..., None], axis=1)
    return jnp.einsum("bw,wv,bv->b", asked, params["slan"]["table"], answers)

  def bag(answers, mask):
    return jnp.sum(jax.nn.one_hot(answers, words) * mask[..., None], axis=-2)

  def loss(params, ema, carry, batch, *, key, step, stage):
    weight = batch["answer_weight"][..., None]
    answers = bag(batch["answers"], batch["answers_mask"])
    told = jnp.sum(answers * weight, axis=1)
    value = -scores(params, batch["text"], batch["text_mask"], told)
    value = jnp.mean(value) + 0 * jnp.mean(batch["image"].astype(jnp.float32))
    return value, ({"answer": (value, jnp.ones(()))}, carry)

  def encode_image(params, image):
    return jnp.mean(image.astype(jnp.float32), axis=(1, 2))

  def rank(params, image, text, text_mask, answers, answers_mask):
    told = bag(answers, answers_mask)
    table = params["slan"]["table"]
    asked = jnp.sum(jax.nn.one_hot(text, words) * text_mask[..., None], axis=1)
    return jax.lax.top_k(jnp.einsum("bw,wv,cv->bc", asked, table, told), 3)[
      ::-1
    ]

  spec = vqa.batch_spec(experiment.model, experiment.vqa, shape)
  predict = {"encode_image": encode_image, "rank": rank}
  return Task("vqa", spec, init, loss, predict, ())


@pytest.fixture
def questions(tmp_path):
  """A small prepared directory."""
  sizes = ["--train-size", "8", "--val-size", "2", "--test-size", "3"]
  options = ["--out", str(tmp_path / "data"), "--workers", "1", *sizes]
  assert prepare.main(["scenes_vqa", *options]) == 0
  return tmp_path / "data"


def test_a_task_is_fed_started_and_scored_by_its_row(
  questions, tmp_path, monkeypatch, capsys
):
  entry = catalog.CATALOG["vqa"]._replace(make=matching_task)
  monkeypatch.setitem(catalog.CATALOG, "vqa", entry)
  for job in (train, evaluate):
    monkeypatch.setattr(job, "make_task", catalog.make_task)
  first, run = tmp_path / "first", tmp_path / "run"
  changes = {"evaluation__records": 1, "text__hard_negatives": 0}
  wanted = light_experiment(questions, **changes, optimizer__learning_rate=0.01)
  wanted = dataclasses.replace(wanted, task="vqa")
  assert train.train(wanted, first) == 0
  lines = (first / "evaluations.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [0, 3, STEPS]
  assert "vqa_accuracy" in json.loads(lines[0])
  checkpoints = workdir.open_checkpoints(first)
  assert checkpoints.best() in (3, STEPS)

  start = dataclasses.replace(wanted.init_from, run=str(first))
  tuned = dataclasses.replace(wanted, init_from=start)
  capsys.readouterr()
  assert train.train(tuned, run) == 0
  assert f"Starting from {first}: 1 arrays" in capsys.readouterr().out
  begun = json.loads((run / "evaluations.jsonl").read_text().splitlines()[0])
  assert begun["vqa_accuracy"] == json.loads(lines[-1])["vqa_accuracy"]

  request = Request(
    task="vqa",
    split="test",
    data=tuned.data.dir,
    galleries=(4,),
    step=STEPS,
    config_hash="",
    untrained=True,
  )
  experiment = workdir.read(run)
  opened = workdir.open_checkpoints(run)
  found = evaluate.evaluate(experiment, opened, request, run)
  assert found["task"] == "vqa" and found["samples"]["images"] == 3
  results = json.loads((run / "results.json").read_text())
  assert len(results) == found["samples"]["questions"]
  answers = json.loads((questions / "answers.json").read_text())
  assert {row["answer"] for row in results} <= set(answers)
  names = set(found["metrics"])
  assert names == set(found["chance"]) == set(found["untrained"])
  assert {"vqa_accuracy", "vqa_accuracy_colour"} <= names
  assert (run / "cases.npz").is_file()
