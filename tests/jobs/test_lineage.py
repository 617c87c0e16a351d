"""What a model learned from, through all that it began from."""

import json

import pytest

from slan_jax.jobs.lineage import saw_boxes, standing
from tests.jobs.light import light_experiment, replace


def run(directory, task, begun="", detector="", export=False):
  """A directory with nothing but what it says of its training."""
  directory.mkdir(exist_ok=True)
  origin = {"run": str(begun), "detector": str(detector)}
  training = {"task": task, "init_from": origin}
  config = {"hash": "0", "config": training}
  if export:
    config = {"model_type": "slan"}
    text = json.dumps(training)
    (directory / "training_config.json").write_text(text)
  (directory / "config.json").write_text(json.dumps(config))
  return training


@pytest.mark.parametrize("export", (False, True))
def test_a_start_from_boxes_is_told_through_all_runs(tmp_path, export):
  first, second = tmp_path / "first", tmp_path / "second"
  assert not run(first, "pretrain", export=export)["init_from"]["run"]
  plain = run(second, "captioning", first, export=export)
  assert saw_boxes(plain) is False
  assert saw_boxes(run(tmp_path / "third", "vqa", second)) is False
  run(first, "grounding", export=export)
  assert saw_boxes(plain) is True
  assert saw_boxes(run(tmp_path / "third", "vqa", second)) is True


def test_what_is_gone_is_not_vouched_for(tmp_path):
  gone = tmp_path / "gone"
  assert saw_boxes(run(tmp_path / "a", "captioning", gone)) is None
  assert saw_boxes(run(tmp_path / "b", "vqa", tmp_path / "a")) is None
  assert saw_boxes(run(tmp_path / "c", "detection", gone)) is True
  (tmp_path / "a" / "config.json").write_text("{")
  assert saw_boxes(run(tmp_path / "b", "vqa", tmp_path / "a")) is None
  broken = run(tmp_path / "b", "vqa", detector=tmp_path / "a")
  assert saw_boxes(broken) is None
  assert saw_boxes(run(tmp_path / "d", "pretrain", detector=gone)) is None


def test_a_published_detector_saw_boxes_and_ours_may_not(tmp_path):
  published, ours = tmp_path / "detr.safetensors", tmp_path / "ours"
  published.write_bytes(b"")
  run(ours, "pretrain", export=True)
  taught = run(tmp_path / "a", "pretrain", detector=published)
  assert saw_boxes(taught) is True
  assert saw_boxes(run(tmp_path / "b", "pretrain", detector=ours)) is False


def test_a_circle_ends(tmp_path):
  first, second = tmp_path / "first", tmp_path / "second"
  run(first, "pretrain", second)
  assert saw_boxes(run(second, "captioning", first)) is False


def test_zero_shot_of_a_task_and_of_a_data_set_are_told_apart():
  pretrained = light_experiment("a/web")
  tuned = replace(pretrained, task="retrieval")
  for told, run, data in (
    (
      "pretrain from web, not from this data set, and was not fine-tuned for "
      "retrieval: zero-shot.",
      pretrained,
      "a",
    ),
    (
      "pretrain from web, the data set scored here, and was not fine-tuned for "
      "retrieval.",
      pretrained,
      "a/web",
    ),
    ("retrieval from web, not from this data set: zero-shot.", tuned, "b/web"),
    ("retrieval from web, the data set scored here.", tuned, "a/b/../web"),
  ):
    assert standing(run, "retrieval", data) == f"The run learned {told}"
  both = light_experiment("a", data__mixture=(("x", "b", 1), ("y", "c", 2)))
  told = standing(replace(both, task="vqa"), "vqa", "a")
  assert "vqa from x, y, not from this data set" in told
