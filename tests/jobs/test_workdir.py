"""A work directory belongs to one configuration."""

import json

import pytest

from slan_jax.jobs import workdir
from slan_jax.jobs.workdir import WorkdirError
from tests.jobs.light import light_experiment


def held(tmp_path, experiment):
  """A directory that holds a run."""
  workdir.write(tmp_path, experiment)
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  return tmp_path


def test_configuration_comes_back(tmp_path):
  experiment = light_experiment("some/data")
  workdir.write(tmp_path, experiment)
  assert workdir.read(tmp_path) == experiment
  record = json.loads((tmp_path / "config.json").read_text())
  assert record["hash"] == workdir.config_hash(experiment)


def test_hash_ignores_how_a_run_is_carried_out():
  plain = workdir.config_hash(light_experiment("d"))
  same = light_experiment(
    "d", log__every_steps=7, checkpoint__keep=9, mesh__fsdp=2,
    compilation_cache="x", data__threads=3, evaluation__every_steps=0,
  )  # fmt: skip
  assert workdir.config_hash(same) == plain and len(plain) == 16
  for change in (
    {"seed": 1},
    {"optimizer__b1": 0.8},
    {"model__filter__top": 3},
    {"evaluation__top_k": 3},
  ):
    assert workdir.config_hash(light_experiment("d", **change)) != plain


def test_another_run_is_refused_by_the_keys_that_differ(tmp_path):
  directory = held(tmp_path, light_experiment("d"))
  workdir.check(directory, light_experiment("d", log__every_steps=9))
  with pytest.raises(WorkdirError) as error:
    workdir.check(
      directory, light_experiment("d", seed=3, optimizer__clip_norm=2.0)
    )
  assert "holds the run of another configuration" in str(error.value)
  assert "optimizer.clip_norm is 1.0 there, 2.0 here" in str(error.value)
  assert "seed is 0 there, 3 here" in str(error.value)


def test_a_directory_without_checkpoints_is_free(tmp_path):
  workdir.check(tmp_path / "missing", light_experiment("d"))
  workdir.write(tmp_path, light_experiment("d"))
  workdir.check(tmp_path, light_experiment("d", seed=3))


def test_checkpoints_without_configuration_are_refused(tmp_path):
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  with pytest.raises(WorkdirError, match=r"checkpoints but no config.json"):
    workdir.check(tmp_path, light_experiment("d"))


@pytest.mark.parametrize(
  "content, message",
  [
    (None, r"not the work directory of a run"),
    ("{", r"config.json is damaged"),
    ("[]", r"config.json is damaged"),
    ('{"config": {"seed": 0}}', r"config.json: .* lacks the key task"),
  ],
)
def test_unreadable_configuration_is_named(tmp_path, content, message):
  if content is not None:
    (tmp_path / "config.json").write_text(content)
  with pytest.raises(WorkdirError, match=message):
    workdir.read(tmp_path)


def test_finished_needs_summary_and_last_checkpoint(tmp_path):
  experiment = light_experiment("d", total_steps=4)
  summary = {"steps": 4, "seconds": 61.0, "skipped": {}, "skipped_steps": 2}
  assert workdir.finished(tmp_path, experiment) is None
  workdir.finish(tmp_path, summary)
  assert workdir.finished(tmp_path, experiment) is None
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  assert workdir.finished(tmp_path, experiment) == summary
  longer = light_experiment("d", total_steps=5)
  assert workdir.finished(tmp_path, longer) is None
  (tmp_path / "summary.json").write_text("{")
  assert workdir.finished(tmp_path, experiment) is None


def test_description():
  summary = {"steps": 4, "seconds": 61.0, "skipped_steps": 2}
  text = workdir.describe(summary | {"skipped": {"corrupt": 3, "cut": 1}})
  assert text == (
    "4 steps in 1:01; not finite and skipped: 2; input faults: 3 corrupt, 1 cut"
  )
  assert "faults: none" in workdir.describe(summary | {"skipped": {}})
