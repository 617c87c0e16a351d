"""A work directory in a bucket; a memory stands for its objects.

Arrays of checkpoints go there through tensorstore, which a memory cannot stand
for: that part is not tested here.
"""

import json

import numpy as np
import pytest
from etils import epath

from slan_jax.evaluation.files import load_arrays, save_arrays
from slan_jax.jobs import workdir
from slan_jax.jobs.typed import ConfigError
from slan_jax.training.log import Log
from slan_jax.training.scores import Scores
from tests.data.test_bucket import bucket  # noqa: F401
from tests.jobs.light import STEPS, light_experiment

HOME = epath.Path("gs://runs/one")


def test_what_a_run_is_and_how_it_ended(bucket, tmp_path):  # noqa: F811
  experiment = light_experiment(tmp_path)
  workdir.check(HOME, experiment)
  workdir.write(HOME, experiment)
  assert workdir.read(HOME) == experiment
  assert workdir.finished(HOME, experiment) is None
  workdir.finish(HOME, {"steps": STEPS})
  assert workdir.finished(HOME, experiment) is None  # without its checkpoint
  (HOME / "checkpoints" / str(STEPS) / "state").write_text("x")
  assert workdir.finished(HOME, experiment) == {"steps": STEPS}
  with pytest.raises(workdir.WorkdirError, match="seed is 0 there, 1 here"):
    workdir.check(HOME, light_experiment(tmp_path, seed=1))


def test_records_grow_and_rewind(bucket):  # noqa: F811
  for start in (0, 2):
    log = Log(HOME, start)
    for step in range(start + 1, 4):
      log.training(step, {"loss": float(start)})
    log.close()
  lines = (HOME / "metrics.jsonl").read_text().splitlines()
  found = [(line["step"], line["loss"]) for line in map(json.loads, lines)]
  assert found == [(1, 0.0), (2, 0.0), (3, 2.0)]
  assert not bucket.exists("gs://runs/one/tensorboard")


def test_scores_and_arrays_come_back(bucket):  # noqa: F811
  Scores(HOME).note(4, 1.5)
  assert Scores(HOME).best([2, 4]) == 4
  save_arrays(HOME / "snapshots" / "4.npz", {"a": np.arange(3)})
  found = load_arrays(HOME / "snapshots" / "4.npz", {"a": 1})
  np.testing.assert_array_equal(found["a"], np.arange(3))


def test_records_of_data_are_not_read_from_a_bucket(tmp_path):
  mixture = (("a", "gs://b/a", 1.0),)
  for changes in ({"data__mixture": mixture}, {"data__dir": "gs://b/a"}):
    with pytest.raises(ConfigError, match=r"gs://b/a: .* mount the bucket"):
      light_experiment(tmp_path, **changes)
