"""Tasks with boxes, pairs and clips, from prepared data to metrics.json.

The model is traced, not run; answers come from stubs.
"""

import json
import shutil
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import finetune
from data import prepare
from slan_jax.evaluation import report
from slan_jax.evaluation.cases import read_cases
from slan_jax.evaluation.task_report import read_curves
from slan_jax.input.classes import read_classes
from slan_jax.input.detection import detection_split
from slan_jax.input.errors import InputError
from slan_jax.input.loader import Loader
from slan_jax.jobs import catalog, detection, nlvr2, video_retrieval
from slan_jax.jobs.experiment import Experiment, input_config, read_tokenizer
from slan_jax.jobs.score import score_file
from slan_jax.jobs.setting import Setting
from slan_jax.jobs.typed import to_dataclass
from slan_jax.training import sharding

REAL = dict(catalog.CATALOG)  # before the tests' light tasks take their places
SMALL = {
  "batch_size": 8, "data.threads": 1, "evaluation.batch_size": 4,
  "evaluation.top_k": 2, "evaluation.first_stage": "itc", "video.frames": 2,
  "model.adaptor.levels": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(scenes, tmp_path_factory):
  """A prepared directory for each task."""
  made = {"detection": scenes, "grounding": scenes}
  for task, name in (("nlvr2", "scenes_nlvr2"), ("video", "scenes_clips")):
    made[task] = tmp_path_factory.mktemp("prepared") / name
    sizes = ["--train-size", "8", "--val-size", "4", "--test-size", "8"]
    given = [name, "--out", str(made[task]), "--workers", "1", *sizes]
    assert prepare.main(given) == 0
  return made


def experiment_of(task, source, **changes):
  config = finetune.get_config(task).unlock()
  config.update_from_flattened_dict(SMALL | {"data.dir": str(source)})
  with config.ignore_type():
    config.update_from_flattened_dict(changes)
  return read_tokenizer(to_dataclass(config.to_dict(), Experiment))


def setting_of(task, source, predict, **changes):
  experiment, encoder = experiment_of(task, source, **changes)
  stub = REAL["pretrain"].make(experiment, encoder)._replace(predict=predict)
  mesh = sharding.make_mesh(experiment.mesh, jax.devices()[:2])
  return Setting(experiment, encoder, stub, mesh, "test", (8,), None)


@pytest.mark.parametrize("task", ["detection", "grounding", "nlvr2"])
def test_rows_fit_the_task_and_losses_trace(task, sources):
  experiment, encoder = experiment_of(task, sources[task])
  made = REAL[task].make(experiment, encoder)
  loader = Loader(
    sources[task],
    input_config(experiment, tuple(range(experiment.batch_size))),
    maker=REAL[task].maker(experiment),
  )
  rows = next(loader)
  loader.close()
  batch = {name: rows[name] for name in made.batch_spec}
  for name, spec in made.batch_spec.items():
    assert (batch[name].shape, batch[name].dtype) == (spec.shape, spec.dtype)
  params, carry = jax.eval_shape(made.init, jax.random.key(0))
  head = "nlvr2" if task == "nlvr2" else "localisation"
  assert set(params) == {"slan", "objective", head}

  def loss(params, carry, batch):
    key = jax.random.key(0)
    return made.loss(params, {}, carry, batch, key=key, step=0, stage=0)

  value, (metrics, after) = jax.eval_shape(loss, params, carry, batch)
  assert value.shape == () and after == {} and metrics


def complete(outcome):
  """The outcome as metrics.json would hold it."""
  return report.complete(
    outcome, checkpoint_step=1, config_hash="", untrained={}
  )


def perfect(source, **changes):
  """A stub that knows every picture by its mean, and all that is in it."""
  setting = setting_of("detection", source, {}, **changes)
  classes = detection._classes(setting.experiment)
  split = detection_split(*setting.source, classes=classes)
  rows = np.arange(len(split.ids))
  known = split.images[rows].astype(np.float32).mean((1, 2, 3))
  boxes = np.zeros((len(rows), 4, 4), np.float32)
  labels = np.full((len(rows), 4), -1)
  for row, held in enumerate(split.objects):
    boxes[row, : len(held.boxes)] = held.boxes
    labels[row, : len(held.labels)] = held.labels

  kinds = np.arange(len(classes.names))[None, None]

  def encode_image(params, image):
    mean = jnp.mean(image.astype(jnp.float32), axis=(1, 2, 3))
    return jnp.argmin(jnp.abs(mean[:, None] - known[None]), axis=1)

  def detect(params, images, text, class_tokens):
    same = jnp.asarray(labels)[images][..., None] == kinds
    return {
      "boxes": jnp.asarray(boxes)[images],
      "scores": jnp.where(same, 0.9, -1.0),
    }

  predict = {
    "encode_image": encode_image,
    "encode_text": lambda params, ids, mask: ids,
    "detect": detect,
  }
  task = setting.task._replace(predict=predict)
  return setting._replace(task=task), split, labels


def test_perfect_boxes_score_all_and_leave_a_result_file(sources, tmp_path):
  setting, split, labels = perfect(sources["detection"])
  found = complete(detection.open_scorer(setting)({}, tmp_path))
  assert found["metrics"]["ap"] == pytest.approx(100)
  assert found["metrics"]["ap50_star"] == pytest.approx(100)
  assert "restricted" not in found["protocol"]
  assert found["chance"]["ap"] < 90
  results = json.loads((tmp_path / detection.RESULTS).read_text())
  assert len(results) == found["samples"]["objects"] == (labels >= 0).sum()
  assert found["samples"] | {"objects": 0} == {
    "images": 8, "objects": 0, "classes": 6
  }  # fmt: skip
  assert found["chance"]["ap50_star"] < 90
  cases, curves = read_cases(tmp_path), read_curves(tmp_path)
  assert len(cases) == 8 and {case.score for case in cases} == {1.0}
  for case in cases:
    np.testing.assert_allclose(case.boxes, case.truth)
    assert case.labels == case.truth_labels
    assert case.text == ", ".join(dict.fromkeys(case.labels))
  assert len(curves) == 2 + len(split.classes.names)
  assert curves[0].y == pytest.approx([1.0] * 101)


def test_given_classes_keep_the_numbers_of_the_data(sources, tmp_path):
  """Numbers with gaps and in another order, as COCO's may be."""
  data = tmp_path / "data"
  shutil.copytree(sources["detection"], data)
  every = read_classes(data).names
  rows = [{"id": 90 - 7 * n, "name": name} for n, name in enumerate(every)]
  (data / "categories.json").write_text(json.dumps(rows))
  numbers = {row["name"]: row["id"] for row in rows}
  asked = ("triangle", "unheard", "circle")
  setting, split, labels = perfect(data, **{"detection.classes": asked})
  found = complete(detection.open_scorer(setting)({}, tmp_path))
  scored = {name for name in found["metrics"] if name.startswith("ap50_")}
  assert scored == {"ap50_circle", "ap50_triangle"}
  assert found["metrics"]["ap"] == pytest.approx(100)
  results = json.loads((tmp_path / detection.RESULTS).read_text())
  told = Counter(row["category_id"] for row in results)
  held = Counter(asked[label] for label in labels[labels >= 0])
  assert told == {numbers[name]: count for name, count in held.items()}
  assert len(told) == 2 and detection._classes(setting.experiment).ids[1] == 91
  others = split.skipped["unknown class"]
  assert others and f"restricted to them: {others} objects" in found["protocol"]
  # The server's truth is that of all classes, and takes these numbers.
  official = score_file("detection", tmp_path / detection.RESULTS, data=data)
  assert official["metrics"]["ap50_circle"] == pytest.approx(100)
  assert official["metrics"]["ap50_star"] == 0


def test_a_class_list_may_be_given_and_is_checked(sources):
  names = {"detection.classes": ("star", "ring", "Star")}
  experiment, encoder = experiment_of(
    "detection", sources["detection"], **names
  )
  with pytest.raises(InputError, match="'Star' and 'star' are the same"):
    REAL["detection"].make(experiment, encoder)
  names = {"detection.classes": ("star", "ring"), "detection.max_length": 9}
  experiment, encoder = experiment_of(
    "detection", sources["detection"], **names
  )
  with pytest.raises(InputError, match=r"detection.max_length"):
    REAL["detection"].make(experiment, encoder)


def test_a_coin_that_always_falls_true(sources, tmp_path):
  predict = {"decide": lambda params, image, text, mask: text[:, 0] + 1.0}
  setting = setting_of("nlvr2", sources["nlvr2"], predict)
  found = complete(nlvr2.open_scorer(setting)({}, tmp_path))
  # Two of the four statements of a group are true.
  assert found["metrics"] == {"accuracy": 50.0, "consistency": 0.0}
  assert found["chance"] == {"accuracy": 50.0, "consistency": 6.25}
  lines = (tmp_path / nlvr2.RESULTS).read_text().splitlines()
  assert len(lines) == 8 and all(line.endswith(",True") for line in lines)
  best, *_, worst = read_cases(tmp_path)
  assert best.lines[1] == "it is True" and worst.lines[1] == "it is False"
  assert best.score > 0 > worst.score == -best.score
  assert best.images.shape == (2, 64, 64, 3) and best.text


def test_clips_are_searched(sources, tmp_path):
  seen = []

  def encode_image(params, clips):
    seen.append(clips.shape)
    return jnp.mean(clips.astype(jnp.float32), axis=(1, 2, 3))

  def encode_text(params, ids, mask):
    return ids[:, 1:4].astype(jnp.float32)

  def itc(params, clips, texts):
    return clips @ texts.T

  predict = {
    "encode_image": encode_image,
    "encode_text": encode_text,
    "itc": itc,
    "itm": lambda params, clips, texts: jnp.sum(clips * texts, axis=1),
  }
  setting = setting_of("retrieval", sources["video"], predict)
  found = complete(video_retrieval.open_scorer(setting)({}, tmp_path))
  assert found["task"] == "video_retrieval" and "2 frames" in found["protocol"]
  assert found["samples"]["images"] == 8 and "mdr" in found["metrics"]
  cases = read_cases(tmp_path)  # two frames of the right clip and the best
  assert [case.images.shape for case in cases] == [(4, 64, 64, 3)] * 8
  assert seen == [(2, 2, 64, 64, 3)]  # 4 pictures a batch are 2 clips of 2
