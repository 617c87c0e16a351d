"""The way from a work directory to PyTorch, as the notebook walks it."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from slan_jax.evaluation.evaluator import Batching
from slan_jax.evaluation.grounding import evaluate_grounding
from slan_jax.evaluation.retrieval import Texts, evaluate_retrieval
from slan_jax.evaluation.snapshot import save_snapshot
from slan_jax.input.gallery import retrieval_split
from slan_jax.input.grounding import grounding_split
from slan_jax.jobs import catalog, evaluate, workdir
from slan_jax.jobs.answers import Answers
from slan_jax.jobs.evaluate import Request
from slan_jax.jobs.examples import phrase_examples
from slan_jax.jobs.experiment import evaluation_config, read_tokenizer
from slan_jax.jobs.figures import Subject, draw_figure
from slan_jax.jobs.trained import read_run
from slan_jax.models.slan import Slan
from slan_jax.tasks import grounding, retrieval
from tests.evaluation.test_snapshot import arrays
from tests.jobs.tiny_run import STEPS, write_tiny_run

NOTEBOOK = Path(__file__).parents[2] / "docs" / "walk.ipynb"


@pytest.fixture(autouse=True)
def light():
  """In place of the light task of this directory: here it is the model."""


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
  """A work directory, its experiment, and one cache of compiled programs."""
  directory = tmp_path_factory.mktemp("tiny")
  experiment = write_tiny_run(scenes, directory / "run")
  jax.config.update("jax_compilation_cache_dir", str(directory / "compiled"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
  yield directory / "run", experiment
  jax.config.update("jax_compilation_cache_dir", None)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def test_the_notebook(run, tmp_path, monkeypatch):
  """Every cell, in order; what they leave is looked at."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("SLAN_RUN", str(run[0]))
  monkeypatch.setenv("SLAN_OUT", str(tmp_path / "out"))
  notebook = json.loads(NOTEBOOK.read_text("utf-8"))
  assert notebook["nbformat"] == 4
  names: dict = {"__name__": "walk"}
  for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
      assert cell["outputs"] == [], "clear the notebook's outputs"
      exec("".join(cell["source"]), names)
  assert names["found"] and names["drawn"].exists()
  for line in names["found"]:
    left, top, right, bottom = line["box"]
    assert 0 <= left < right <= 64 and 0 <= top < bottom <= 64
  assert abs(names["log_odds"] - names["scores"][0]["itm"]) < 1e-4
  assert [line["rank"] for line in names["best"]] == [1, 2, 3]
  # What it fitted belongs to this checkpoint, and went out with it.
  fitted = json.loads((run[0] / "calibration.json").read_text())
  assert fitted["step"] == STEPS[-1] and fitted["split"] == "val"
  there = tmp_path / "out" / "export" / "calibration.json"
  assert json.loads(there.read_text()) == fitted
  assert names["scores"][0]["calibrated"]
  assert read_run(run[0], str(STEPS[0])).calibration is None


def test_either_framework_scores_the_same(run, tmp_path):
  """Retrieval and grounding of the test split, to four digits."""
  directory, experiment = run
  trained = read_run(directory, "last")
  model = Slan(trained.model)
  ours = {**retrieval.predictions(model), **grounding.predictions(model)}
  source = experiment.data.dir, "test", evaluation_config(experiment)
  gallery = retrieval_split(*source, limit=6)
  split = grounding_split(*source)
  options = experiment.evaluation
  batching = Batching(size=16, pairs=16, progress=False)
  found = evaluate_retrieval(
    ours, trained.params, gallery.images,
    Texts(gallery.tokens, gallery.mask, gallery.text_image),
    galleries=options.galleries,
    texts_per_image=options.texts_per_image or None,
    top_k=options.top_k, first_stage=options.first_stage,
    score=options.score, batching=batching,
  )  # fmt: skip
  examples = phrase_examples(split, range(len(split.examples)))
  boxes = evaluate_grounding(ours, trained.params, examples, batching=batching)
  for task, mine in (("retrieval", found.report), ("grounding", boxes)):
    request = Request(
      task=task,
      data=experiment.data.dir,
      split="test",
      galleries=options.galleries,
      step=STEPS[-1],
      config_hash="",
      untrained=False,
      framework="torch",
    )
    checkpoints = workdir.open_checkpoints(directory)
    theirs = evaluate.evaluate(
      workdir.read(directory), checkpoints, request, tmp_path / task
    )
    assert len(mine["metrics"]) > 10
    for name, count in mine["samples"].items():
      assert theirs["samples"][name] == count
    for name, value in mine["metrics"].items():
      assert theirs["metrics"][name] == pytest.approx(value, abs=5e-5), name


def test_torch_keeps_the_regions_that_learned_from_boxes(run):
  experiment, encoder = read_tokenizer(run[1])
  params = read_run(run[0], "last").params
  params |= {
    "localisation": {"temperature": np.float32(0.1), "nothing": np.float32(9)}
  }
  images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3))
  images = images.astype(np.uint8)
  ids, mask, _ = encoder(["a red ring"])
  found = {}
  for task in ("pretrain", "grounding"):
    tuned = dataclasses.replace(experiment, task=task)
    plain = catalog.CATALOG["grounding"].make(tuned, encoder)
    predict = evaluate._by_torch("grounding", plain, tuned, encoder).predict
    state = predict["encode_image"](params, images)
    found[task] = predict["ground"](params, state, ids, mask)
  assert found["grounding"]["region_mask"].all()  # the filter is off
  # "Nothing" that is near to all silences the phrases.
  silent, plain = (found[k]["scores"].max() for k in ("grounding", "pretrain"))
  assert silent < 1e-3 * plain


def test_what_torch_cannot_score_is_refused(run):
  with pytest.raises(ValueError, match="--framework=torch scores"):
    evaluate._by_torch("vqa", None, run[1], None)


def test_figure_5_shows_the_run_or_given_pictures(run, tmp_path, monkeypatch):
  directory, _ = run
  monkeypatch.chdir(tmp_path)
  model = Answers.open(directory)
  nothing = Subject([], [])
  with pytest.raises(ValueError, match="no snapshots"):
    draw_figure(5, model, nothing, tmp_path / "a.png")
  save_snapshot(directory, arrays(4))
  path = draw_figure(5, model, nothing, tmp_path / "a.png")
  picture = tmp_path / "picture.png"
  array = np.random.default_rng(0).integers(0, 256, (40, 60, 3))
  Image.fromarray(array.astype(np.uint8)).save(picture)
  subject = Subject([picture], ["a red ring above a blue star"])
  other = draw_figure(5, model, subject, tmp_path / "b.png")
  assert min(path.stat().st_size, other.stat().st_size) > 5000
