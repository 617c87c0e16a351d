"""What `make tasks` would run: every task, from and beside what it should."""

import os
import subprocess
from pathlib import Path

import pytest

from configs.finetune import TASKS
from slan_jax.jobs.catalog import SCORED

ROOT = Path(__file__).parents[2]


def commands(folder: Path, *settings: str) -> list[str]:
  """The commands of `make -n tasks` there, each on one line."""
  # A make around the tests hands down its settings, and names directories.
  own = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
  done = subprocess.run(
    ["make", "-n", "tasks", *settings],
    cwd=folder,
    env=own,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  lines = done.stdout.replace("\\\n", " ").splitlines()
  return [" ".join(line.split()) for line in lines]


@pytest.fixture
def folder(tmp_path):
  """Where everything is set up."""
  (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
  (tmp_path / ".venv").mkdir()
  for name in ("requirements.lock", "setup.py"):
    (tmp_path / name).touch()
  for name in ("venv.stamp", "setup.stamp"):
    (tmp_path / ".venv" / name).touch()
  return tmp_path


def flags(lines: list[str], program: str) -> dict[str, str]:
  """Of each run of a program, by the task that it names."""
  found = {}
  for line in lines:
    if f"/{program} " in line:
      words = line.partition(f"/{program} ")[2]
      task = words.partition("--task ")[2].split(" ")[0]
      task = task or words.partition("finetune.py:")[2].split(" ")[0]
      found[task.split(",")[0]] = words
  return found


def test_every_task_is_tuned_scored_and_shown(folder):
  lines = commands(folder)
  trained, scored = flags(lines, "slan-train"), flags(lines, "slan-eval")
  assert "configs/pretrain.py:scenes" in trained[""]
  assert {*trained} == {*TASKS, ""} and {*scored} == {*SCORED}
  for task in TASKS:
    assert "--config.init_from.run=runs/scenes" in trained[task]
    place = f"runs/tasks/{task}"
    assert f"--workdir {place} " in trained[task]
    own = f"--workdir {place} --task {task} --output {place}/eval/{task}"
    assert own == scored[task]
  data = "--config.data.dir=runs/data/scenes"
  assert f"{data}_vqa " in trained["vqa"] and f"{data} " in trained["grounding"]
  assert "--data runs/data/scenes_clips" in scored["video_retrieval"]
  assert lines[-1].endswith(
    "slan-tasks --runs runs/tasks --scratch runs/tasks-scratch --output "
    "runs/tasks/report.html"
  )


def test_what_was_done_is_not_done_again(folder):
  run = folder / "runs" / "scenes"
  run.mkdir(parents=True)
  (run / "summary.json").touch()
  tuned = folder / "runs" / "tasks" / "vqa"
  (tuned / "eval" / "vqa").mkdir(parents=True)
  (tuned / "summary.json").touch()
  (tuned / "eval" / "vqa" / "metrics.json").touch()
  lines = commands(folder)
  assert {*flags(lines, "slan-train")} == {*TASKS} - {"vqa"}
  assert {*flags(lines, "slan-eval")} == {*SCORED} - {"vqa"}


def test_from_scratch_with_a_seed_and_a_preset(folder):
  given = "SCRATCH=1", "SEED=1", "PRESET=paper"
  lines = commands(folder, *given)
  trained = flags(lines, "slan-train")
  assert {*trained} == {*TASKS}  # nothing is pre-trained
  for task, words in trained.items():
    assert f"finetune.py:{task},preset=paper " in words
    assert f"--workdir runs/tasks-paper-seed1-scratch/{task} " in words
    assert "init_from" not in words and words.endswith("--config.seed=1")
  page = "slan-tasks --runs runs/tasks-paper-seed1-scratch --output runs/tasks"
  assert page in lines[-1]  # there is nothing yet to stand beside
  (folder / "runs" / "tasks-paper-seed1" / "vqa" / "eval").mkdir(parents=True)
  page = (
    "--runs runs/tasks-paper-seed1 --scratch runs/tasks-paper-seed1-scratch"
  )
  assert page in commands(folder, *given)[-1]
