"""Two processes are one run: same examples, same losses, and back to one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data import prepare
from slan_jax.input.loader import Loader
from slan_jax.jobs import catalog, evaluate, train, unfinished, workdir
from slan_jax.jobs.evaluate import Request
from tests.faults import program
from tests.jobs.light import light_experiment, light_task

ROOT = Path(__file__).parents[2]
STEPS = 60  # far more than are taken until the signal comes
# Each task, and the data set that it is scored on beside the scenes.
MORE = {
  "captioning": None,
  "vqa": "scenes_vqa",
  "nlvr2": "scenes_nlvr2",
  "detection": None,
  "grounding": None,
  "video_retrieval": "scenes_clips",
}
CHANGES = {
  "total_steps": STEPS,
  "evaluation.every_steps": 0,
  "checkpoint.every_steps": 20,
  "evaluation.batch_size": 6,  # the last batch of eight pictures is partial
  "evaluation.pair_batch_size": 10,
  "objective.lm": 1.0,  # captions are scored where they were trained
}


def experiment(scenes, **changes):
  own = {key.replace(".", "__"): value for key, value in CHANGES.items()}
  return light_experiment(scenes, **own, **changes)


def noted(monkeypatch, folder: Path) -> Path:
  """Has this process note the examples that it takes."""
  folder.mkdir()
  monkeypatch.setenv("SEEN", str(folder))
  monkeypatch.setattr(Loader, "__next__", program.noting)
  return folder


def examples(folder: Path, processes: int = 1) -> list[tuple[int, int]]:
  """Positions and images in the order in which a run took them."""
  files = [folder / f"{p}.jsonl" for p in range(processes)]
  parts = [[*map(json.loads, f.read_text().splitlines())] for f in files]
  assert len({len(part) for part in parts}) == 1
  return [
    pair
    for step in zip(*parts)
    for rows in step
    for pair in zip(rows["index"], rows["image_id"])
  ]


def losses(directory: Path) -> list[float]:
  lines = (directory / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def alone(scenes, tmp_path_factory):
  """A run of one process: its directory and the examples that it took."""
  directory = tmp_path_factory.mktemp("alone")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train, "make_task", light_task)
    folder = noted(patch, directory / "seen")
    assert train.train(experiment(scenes), directory) == 0
  return directory, examples(folder)


def two(job: str, *flags: str, **environment: str) -> subprocess.Popen:
  """A job in two processes of one device each."""
  quick = "--xla_backend_optimization_level=0"
  environment |= {"XLA_FLAGS": quick, "PYTHONPATH": str(ROOT)}
  program = [sys.executable, "-m", "tests.faults.program", job, *flags]
  return subprocess.Popen(
    [ROOT / "launch" / "local_hosts.sh", "2", *program],
    cwd=ROOT, env={**os.environ, **environment},
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
  )  # fmt: skip


def test_stopped_with_two_goes_on_with_one(
  alone, scenes, tmp_path, monkeypatch
):
  seen = tmp_path / "seen"
  seen.mkdir()
  settings = CHANGES | {"data.dir": scenes, "mesh.cpu_devices": 1}
  run = two(
    "train",
    f"--config={ROOT / 'tests' / 'jobs' / 'light.py'}",
    *(f"--config.{key}={value}" for key, value in settings.items()),
    f"--workdir={tmp_path / 'run'}",
    SEEN=str(seen),
    PACE="0.3",
  )
  deadline = time.monotonic() + 180
  notes = seen / "1.jsonl"
  while not notes.exists() or notes.read_text().count("\n") < 3:
    assert run.poll() is None and time.monotonic() < deadline
    time.sleep(0.05)
  run.send_signal(signal.SIGTERM)
  text, _ = run.communicate(timeout=120)
  assert run.returncode == 128 + signal.SIGTERM, text
  first = examples(seen, processes=2)
  step = len(first) // 8
  assert 3 <= step < STEPS and f"Stopped by SIGTERM at step {step}" in text

  rest = noted(monkeypatch, tmp_path / "rest")
  other = experiment(scenes, mesh__fsdp=2)
  assert train.train(other, tmp_path / "run") == 0
  assert first + examples(rest) == alone[1]
  np.testing.assert_allclose(
    losses(tmp_path / "run"), losses(alone[0]), rtol=1e-5
  )


@pytest.fixture(scope="module")
def sources(scenes, tmp_path_factory):
  """The data of each task of MORE."""
  made = {}
  for task, name in MORE.items():
    out = scenes if name is None else tmp_path_factory.mktemp("data") / name
    sizes = ["--train-size", "8", "--val-size", "4", "--test-size", "8"]
    if name:
      given = [name, "--out", str(out), "--workers", "1", *sizes]
      assert prepare.main(given) == 0
    made[task] = str(out)
  return made


def test_two_score_as_one(alone, sources, tmp_path, monkeypatch):
  """On every task; no batch of theirs is full, so padding would show."""
  more = json.dumps(sources)
  own = workdir.read(alone[0])
  asked = Request(
    task="retrieval", data=own.data.dir, split="test", galleries=(4,),
    step=STEPS, config_hash=workdir.config_hash(own), untrained=True,
  )  # fmt: skip
  monkeypatch.setenv("MORE", more)
  for task, entry in program.light_entries().items():
    monkeypatch.setitem(catalog.CATALOG, task, entry)
  for module in (program.caption_scores, program.caption_words):
    monkeypatch.setattr(module, "java_path", lambda: None)
  # What one process had finished, two take over.
  monkeypatch.setattr(unfinished, "SECONDS", 0)
  monkeypatch.setattr(evaluate, "forget", lambda output: None)
  program.scoring_more(
    own,
    workdir.open_checkpoints(alone[0]),
    asked,
    tmp_path / "one" / "retrieval",
  )
  begun = tmp_path / "two" / "retrieval" / "partial"
  shutil.copytree(tmp_path / "one" / "retrieval" / "partial", begun)
  shutil.rmtree(begun / "untrained")
  run = two(
    "evaluate",
    f"--workdir={alone[0]}",
    "--task=retrieval",
    f"--output={tmp_path / 'two' / 'retrieval'}",
    MORE=more,
  )
  text, _ = run.communicate(timeout=180)
  assert run.returncode == 0, text
  assert text.count("goes on from what was scored of the model") == 1
  assert "are removed" not in text and not begun.exists()
  for task in ("retrieval", *sources):
    one, other = (
      json.loads((tmp_path / count / task / "metrics.json").read_text())
      for count in ("one", "two")
    )
    assert one == other and one["metrics"], task
    assert (tmp_path / "two" / task / "report.html").is_file()
