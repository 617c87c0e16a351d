"""The drawn data sets of all tasks, from preparation to batches."""

import functools
import itertools

import numpy as np
import pytest

from data import prepare
from slan_jax.input.answers import read_answers
from slan_jax.input.clips import clip_split
from slan_jax.input.detection import ObjectMaker, detection_split
from slan_jax.input.loader import Loader
from slan_jax.input.pairs import PairMaker, pair_split
from slan_jax.input.phrases import PhraseMaker
from slan_jax.input.questions import QuestionMaker, question_split
from tests.input.prepared import evaluation_config, input_config

SIZES = ["--train-size=16", "--val-size=8", "--test-size=8"]
SMALL = {"image_size": 32, "max_length": 32, "batch_size": 4, "flip": True}
CONFIG = evaluation_config(image_size=32, max_length=32)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
  """Prepares a data set by its name, once."""
  root = tmp_path_factory.mktemp("drawn")

  @functools.cache
  def directory(name):
    out = str(root / name)
    assert prepare.main([name, "--out", out, "--workers=1", *SIZES]) == 0
    return out

  return directory


def batches(directory, maker, **changes):
  """Two batches through the threads of a loader."""
  config = input_config(**(SMALL | changes), threads=2)
  loader = Loader(directory, config, maker=maker)
  made = list(itertools.islice(loader, 2))
  loader.close()
  assert not loader.skipped
  for batch in made:
    assert batch["image"].dtype == np.uint8 and len(batch["index"]) == 4
  return made


def test_questions(drawn):
  directory = drawn("scenes_vqa")
  maker = functools.partial(QuestionMaker, answers=2, answer_length=6)
  for batch in batches(directory, maker, caption="random"):
    assert batch["answers"].shape == (4, 2, 6)
    assert (batch["answer_weight"][:, 0] >= 0.7).all()
  split = question_split(directory, "test", CONFIG)
  assert len(split.images) == 8 and not split.skipped
  assert all(sum(q.answers.values()) == 10 for q in split.questions)
  agreed = {max(q.answers, key=q.answers.get) for q in split.questions}
  assert len(agreed & {*read_answers(directory)}) > 5


def test_pairs(drawn):
  directory = drawn("scenes_nlvr2")
  for batch in batches(directory, PairMaker):
    assert batch["image"].shape == (4, 2, 32, 32, 3)
    assert set(batch["label"].tolist()) <= {0, 1}
  split = pair_split(directory, "test", CONFIG)
  assert split.labels.mean() == 0.5 and len(split.labels) == 8
  assert len({statement.group for statement in split.statements}) == 2


def test_clips(drawn):
  directory = drawn("scenes_clips")
  gallery = clip_split(directory, "test", CONFIG, frames=4, choice="uniform")
  assert gallery.images[np.arange(8)].shape == (8, 4, 32, 32, 3)
  assert gallery.text_image.tolist() == list(range(8))


def test_objects_and_phrases(scenes):
  maker = functools.partial(ObjectMaker, boxes=4)
  for batch in batches(str(scenes), maker):
    assert ((batch["labels"] >= 0).sum(1) >= 1).all()
    assert (batch["boxes"][..., 2:] >= batch["boxes"][..., :2]).all()
  split = detection_split(str(scenes), "test", CONFIG)
  assert len(split.classes.names) == 6 and len({*split.image_ids}) == 30
  maker = functools.partial(PhraseMaker, phrases=8, boxes=4)
  for batch in batches(str(scenes), maker, caption="random"):
    assert (batch["box_mask"].any(-1) == batch["phrase_tokens"].any(-1)).all()
    assert batch["box_mask"].any((1, 2)).all()
