"""Two processes are one run: same examples, same losses, and back to one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from slan_jax.input.loader import Loader
from slan_jax.jobs import evaluate, train, workdir
from tests.faults import program
from tests.jobs.light import light_experiment, light_task

ROOT = Path(__file__).parents[2]
STEPS = 60  # far more than are taken until the signal comes
CHANGES = {
  "total_steps": STEPS,
  "evaluation.every_steps": 0,
  "checkpoint.every_steps": 20,
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


def test_two_score_as_one(alone, tmp_path):
  run = two(
    "evaluate",
    f"--workdir={alone[0]}",
    "--task=retrieval",
    f"--output={tmp_path / 'two'}",
  )
  text, _ = run.communicate(timeout=180)
  assert run.returncode == 0, text
  asked = json.loads((tmp_path / "two" / "request.json").read_text())
  request = evaluate.Request(**asked | {"galleries": (4,)})
  checkpoints = workdir.open_checkpoints(alone[0])
  one = evaluate.evaluate(
    workdir.read(alone[0]), checkpoints, request, tmp_path / "one"
  )
  assert json.loads((tmp_path / "two" / "metrics.json").read_text()) == one
