"""What an evaluation may do otherwise than its run reaches what scores it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation import detection as evaluation
from slan_jax.jobs import captioning, choices, detection, video_retrieval
from slan_jax.jobs.catalog import SCORED
from slan_jax.jobs.choices import choose
from slan_jax.jobs.experiment import read_tokenizer
from slan_jax.jobs.scoring import Scorer
from slan_jax.jobs.typed import ConfigError
from slan_jax.training.sharding import make_mesh
from tests.jobs.light import light_experiment, light_task
from tests.jobs.test_captioning import setting, without_java  # noqa: F401
from tests.jobs.test_downstream import REAL, setting_of, sources  # noqa: F401


def chosen(setting, task, *given):
  """A setting as `slan-eval --set` changes it, with the task that it makes."""
  experiment, changed = choose(setting.experiment, task, given)
  assert changed
  made = REAL[task].make(experiment, setting.encoder)
  return setting._replace(experiment=experiment, task=made)


def test_evaluation(scenes):
  run, encoder = read_tokenizer(light_experiment(scenes))
  made, changed = choose(
    run,
    "retrieval",
    ["evaluation.top_k=1", "evaluation.score=itm", "evaluation.batch_size=3"],
  )
  # How many at a time is none of the results' business.
  assert changed == {"evaluation.score": "itm", "evaluation.top_k": 1}
  assert made.evaluation.batch_size == 3
  assert made.model == run.model and made.optimizer == run.optimizer
  task = light_task(run, encoder)
  params, mesh = task.init(jax.random.key(0))[0], make_mesh(run.mesh)
  reports = [
    Scorer(each, task, mesh, "test", galleries=(4,)).retrieval(params).report
    for each in (run, made)
  ]
  pairs = [report["samples"]["pairs_reranked"] for report in reports]
  assert pairs[0] > pairs[1] and reports[1]["score"] == "itm"


def test_video(sources):  # noqa: F811
  stub = setting_of("retrieval", sources["video"], {})
  found = chosen(
    stub, "video_retrieval", "video.frames=3", "video.choice=random"
  )
  shapes = []

  def encode_image(params, clips):
    shapes.append(clips.shape[1])
    return jnp.mean(clips.astype(jnp.float32), axis=(1, 2, 3))

  predict = {
    "encode_image": encode_image,
    "encode_text": lambda params, ids, mask: ids[:, 1:4].astype(jnp.float32),
    "itc": lambda params, clips, texts: clips @ texts.T,
    "itm": lambda params, clips, texts: jnp.sum(clips * texts, axis=1),
  }
  found = found._replace(task=found.task._replace(predict=predict))
  report = video_retrieval.open_scorer(found)({}, None)
  assert shapes == [3] and "3 frames, chosen random" in report["protocol"]


def test_captioning(scenes):
  run = setting(scenes, {})
  search = "captioning.write.search=nucleus", "captioning.write.top_p=0.5"
  found = chosen(run, "captioning", *search)
  options = found.task.predict["caption"].args[1]
  assert (options.write.search, options.write.top_p) == ("nucleus", 0.5)
  told = captioning._protocol(found.experiment)
  assert "nucleus sampling, p 0.5" in told
  with pytest.raises(ConfigError, match=r"top_p: is read only where .*search"):
    choose(run.experiment, "captioning", search[1:])
  with pytest.raises(ConfigError, match=r"top_p is 2.0; expected 0 < p <= 1"):
    choose(run.experiment, "captioning", [search[0], search[1][:-3] + "2"])


def test_vqa(scenes):
  run = setting(scenes, {}, task="vqa")
  given = "vqa.inference=generate", "vqa.write.longest=3"
  options = chosen(run, "vqa", *given).task.predict["answer"].args[1]
  assert options.inference == "generate" and options.write.longest == 3
  with pytest.raises(
    ConfigError, match=r"vqa.inference is generate, and it is"
  ):
    choose(run.experiment, "vqa", given[1:])
  with pytest.raises(ConfigError, match=r"rank_first: .* where vqa.inference"):
    choose(run.experiment, "vqa", [given[0], "vqa.rank_first=4"])
  with pytest.raises(ConfigError, match="'best'; expected rank or generate"):
    choose(run.experiment, "vqa", ["vqa.inference=best"])


def test_detection(sources, monkeypatch):  # noqa: F811
  run = setting_of("detection", sources["detection"], {})
  given = (
    "detection.nms=0", "detection.classes=star, ring",
    "detection.prompt_classes=1",
  )  # fmt: skip
  found = chosen(run, "detection", *given)
  assert found.experiment.detection.classes == ("star", "ring")
  assert found.task.predict["detect"].args[-1] == 0.0
  nothing = evaluation.Detections(
    np.zeros((8, 1, 4)), np.full((8, 1), -1.0), np.full((8, 1), -1)
  )
  monkeypatch.setattr(evaluation, "detect_objects", lambda *a, **k: nothing)
  report = detection.open_scorer(found)({}, None)
  assert "Prompts: 2." in report["protocol"]
  assert report["samples"]["classes"] == 2
  with pytest.raises(ConfigError, match=r"nms is -1.0; expected at least 0"):
    choose(run.experiment, "detection", ["detection.nms=-1"])


def test_every_task_has_its_list():
  assert {*choices.CHOICES} == {*SCORED}


@pytest.mark.parametrize(
  "given, message",
  [
    ("top_k", "--set top_k: expected KEY=VALUE"),
    ("top_k=3", "no such key; .* did you mean evaluation.top_k?"),
    (
      "model.width=8",
      "belongs to the model.*--task retrieval takes evaluation",
    ),
    ("video.frames=2", "--task retrieval does not read it; "),
    ("evaluation.top_k=x", "top_k is 'x' .str.; expected int"),
    ("evaluation.top_k=0", "top_k is 0; expected at least 1"),
    ("evaluation.use_ema=1", "use_ema is '1' .str.; expected bool"),
    ("evaluation.score=best", "score is 'best'; this model offers itm, st"),
  ],
)
def test_what_cannot_be_chosen_is_refused(scenes, given, message):
  run = light_experiment(scenes)
  with pytest.raises(ConfigError, match=message):
    choose(run, "retrieval", [given])


def test_what_is_as_in_the_run_changes_nothing(scenes):
  run = light_experiment(scenes)
  same = f"evaluation.top_k={run.evaluation.top_k}"
  assert choose(run, "retrieval", [same]) == (run, {})
  with pytest.raises(ConfigError, match="top_k is given twice"):
    choose(run, "retrieval", [same, same])
