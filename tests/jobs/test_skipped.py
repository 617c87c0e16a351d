"""What a split leaves out is counted beside the scores of every task."""

import jax
import pytest

from data import prepare
from slan_jax.evaluation import caption_scores, caption_words
from slan_jax.evaluation.report import complete
from slan_jax.input import image
from slan_jax.input.errors import BadRecord
from slan_jax.input.grounding import NO_BOX
from slan_jax.jobs import catalog, scoring
from slan_jax.jobs.experiment import read_tokenizer
from slan_jax.jobs.setting import Setting
from slan_jax.training.sharding import make_mesh
from tests.jobs.light import light_experiment, light_task, replace

OWN = {"vqa": "scenes_vqa", "nlvr2": "scenes_nlvr2",
       "video_retrieval": "scenes_clips"}  # fmt: skip


@pytest.mark.parametrize("task", catalog.SCORED)
def test_a_broken_picture_is_counted(task, scenes, tmp_path, monkeypatch):
  data = tmp_path / OWN[task] if task in OWN else scenes
  if task in OWN:
    sizes = ["--train-size", "8", "--val-size", "4", "--test-size", "8"]
    given = [OWN[task], "--out", str(data), "--workers", "1", *sizes]
    assert prepare.main(given) == 0
  for module in (caption_scores, caption_words):
    monkeypatch.setattr(module, "java_path", lambda: None)
  broken, decode = [], image.decode

  def break_first(data, **options):
    broken.append(data)
    if data == broken[0]:
      raise BadRecord("corrupt image")
    return decode(data, **options)

  monkeypatch.setattr(image, "decode", break_first)
  if task == "grounding":  # the scenes' phrases all have boxes
    read = scoring.grounding_split

    def without_boxes(*source, **options):
      split = read(*source, **options)
      split.skipped[NO_BOX] += 2
      return split

    monkeypatch.setattr(scoring, "grounding_split", without_boxes)
  experiment, encoder = read_tokenizer(light_experiment(data, video__frames=2))
  experiment = replace(experiment, task=task)
  light = light_task(experiment, encoder)
  setting = Setting(
    experiment, encoder, light, make_mesh(experiment.mesh), "test", (8,), None
  )
  params = light.init(jax.random.key(0))[0]
  outcome = catalog.score_function(task, setting)(params, None)
  told = {"checkpoint_step": 1, "config_hash": "", "untrained": {}}
  samples = complete(outcome, **told)["samples"]
  assert samples["skipped_corrupt_image"] >= 1
  if task == "grounding":
    assert samples["skipped_corrupt_image"] == 1
    assert samples["phrases_without_box"] == 2
    assert "skipped_phrase_without_box" not in samples
