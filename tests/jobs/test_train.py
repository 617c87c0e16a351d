"""The training job: new, resumed, finished, refused; and its exit codes."""

import json
import logging
import signal
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from slan_jax.input.errors import InputError
from slan_jax.jobs import common, train, workdir
from slan_jax.training.errors import NonFiniteError
from tests.jobs.light import STEPS, light_experiment, light_task


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory):
  """A complete run's directory."""
  directory = tmp_path_factory.mktemp("finished")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train, "make_task", light_task)
    assert train.train(light_experiment(scenes), directory) == 0
  return directory


def checksums(directory) -> dict[str, int]:
  """Of every array of the last checkpoint."""
  path = directory / "checkpoints" / str(STEPS) / "record" / "metadata"
  return json.loads(path.read_text())["checksums"]


def test_a_run_leaves_its_records(finished, scenes):
  lines = (finished / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
  last = json.loads(lines[-1])
  assert {"loss", "itc", "learning_rate", "gradient_norm"} <= set(last)
  assert {"images_per_second", "host_seconds", "mfu"} <= set(last)
  scores = (finished / "evaluations.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in scores] == [0, 3, 6]
  assert {"r_mean", "pointing"} <= set(json.loads(scores[0]))
  assert (finished / "snapshots" / "3.npz").exists()
  assert json.loads((finished / "summary.json").read_text())["steps"] == STEPS
  resolved = workdir.read(finished)
  assert resolved.model.text.vocab_size > 0 and resolved.data.dir == str(scenes)


def test_a_mixture_is_counted_by_source(scenes, tmp_path):
  mixture = (("one", str(scenes), 3.0), ("other", str(scenes), 1.0))
  experiment = light_experiment(
    scenes, data__mixture=mixture, total_steps=2, evaluation__every_steps=0
  )
  assert train.train(experiment, tmp_path) == 0
  last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
  counts = {key: last[key] for key in last if "one" in key or "other" in key}
  assert counts == {
    "seen_one": 12,
    "faults_one": 0,
    "seen_other": 4,
    "faults_other": 0,
  }


def test_a_finished_run_ends_at_once(finished, scenes, capsys, monkeypatch):
  monkeypatch.setattr(train, "_train", None)
  assert train.train(light_experiment(scenes), finished) == 0
  assert f"is complete: {STEPS} steps" in capsys.readouterr().out


def test_stopped_and_resumed_is_the_same_run(
  finished, scenes, tmp_path, monkeypatch, capsys
):
  experiment = light_experiment(scenes)
  original = train.global_batch
  seen = []

  def counted(batch, mesh):
    seen.append(batch["text"].shape)
    if len(seen) == 3:
      signal.raise_signal(signal.SIGINT)
    return original(batch, mesh)

  monkeypatch.setattr(train, "global_batch", counted)
  assert train.train(experiment, tmp_path) == 130
  assert "Stopped by SIGINT at step 3" in capsys.readouterr().out
  assert train.train(experiment, tmp_path) == 0
  assert "going on from step 3" in capsys.readouterr().out
  assert len(seen) == STEPS
  assert checksums(tmp_path) == checksums(finished)


def test_another_configuration_is_refused(finished, scenes):
  with pytest.raises(workdir.WorkdirError, match="seed is 0 there, 1 here"):
    train.train(light_experiment(scenes, seed=1), finished)


def test_bad_input_is_refused_before_anything_is_written(scenes, tmp_path):
  other = {"data__dir": str(tmp_path), "text__tokenizer": f"{scenes}/tokenizer"}
  for error, message, changes in (
    (ValueError, "batch_size=6 is not divisible by the 8", {"batch_size": 6}),
    (ValueError, "does not fit 8 device", {"mesh__data": 3}),
    (InputError, "holds no tokenizer", {"data__dir": str(tmp_path)}),
    (InputError, "not a prepared data set", other),
    (InputError, "has no split 'x'", {"data__train_split": "x"}),
    (ValueError, "warmup_steps=-1", {"optimizer__warmup_steps": -1}),
    (ValueError, "crop_scale is", {"data__crop_scale": (0.0, 1.0)}),
  ):
    with pytest.raises(error, match=message):
      train.train(light_experiment(scenes, **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_diverging_run_is_an_error(scenes, tmp_path, monkeypatch):
  def broken(experiment, encoder):
    task = light_task(experiment, encoder)

    def loss(*arguments, **options):
      value, rest = task.loss(*arguments, **options)
      return value * float("nan"), rest

    return task._replace(loss=loss)

  monkeypatch.setattr(train, "make_task", broken)
  experiment = light_experiment(
    scenes, optimizer__max_skipped=3, evaluation__every_steps=0
  )
  with pytest.raises(NonFiniteError, match="3 steps in a row, up to step 3"):
    train.train(experiment, tmp_path)


@pytest.fixture
def leave(monkeypatch):
  """(job, *arguments) -> exit code of a job launched with these arguments."""

  def run(job, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["slan-train", *arguments])
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as stop:
      common.launch(job)
    return stop.value.code

  return run


def read_config():
  return common.experiment_of(flags.FLAGS.config)


# ml_collections loads configuration files by a deprecated function.
ml_collections_warns = pytest.mark.filterwarnings("ignore:the load_module")
CONFIG = "--config=configs/pretrain.py:scenes"


@ml_collections_warns
def test_flags_become_an_experiment(leave):
  def job() -> int:
    return read_config().batch_size

  assert leave(job, CONFIG, "--config.batch_size=8", "--workdir=w") == 8


@ml_collections_warns
@pytest.mark.parametrize(
  "arguments, message",
  [
    ([CONFIG, "--config.batch_sizes=3"], "batch_sizes"),
    ([CONFIG, "--config.batch_size=x"], "batch_size"),
    (["--config=configs/pretrain.py:nope"], "unknown name 'nope'"),
    (["--config=configs/none.py"], "configs/none.py"),
    (["--nonsense=1"], "nonsense"),
    (["word"], "unexpected arguments ['word']"),
  ],
)
def test_bad_usage_ends_with_code_2(arguments, message, capsys, leave):
  assert leave(read_config, *arguments) == 2
  error = capsys.readouterr().err
  assert message in error and error.startswith("slan-train: ")
  assert "Traceback" not in error and error.count("\n") == 1


def test_errors_have_their_codes(capsys, leave):
  def fail(error):
    def job():
      raise error

    return job

  assert leave(fail(InputError("no data"))) == 2
  assert leave(fail(NonFiniteError("nan"))) == 3
  assert leave(fail(KeyboardInterrupt())) == 130
  assert leave(lambda: None) == 0
  capsys.readouterr()
  assert leave(fail(ValueError("wrong")), "--debug") == 2
  assert "Traceback" in capsys.readouterr().err
  with pytest.raises(RuntimeError, match="a bug"):
    leave(fail(RuntimeError("a bug")))


def test_warnings_reach_the_terminal(capsys, leave):
  leave(lambda: logging.getLogger("slan_jax.x").warning("look"))
  assert capsys.readouterr().err == "warning: look\n"
