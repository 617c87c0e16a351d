"""What `make tasks` would run: every task, from and beside what it should."""

import os
import subprocess
from pathlib import Path

import pytest

from configs.finetune import TASKS
from slan_jax.jobs.catalog import SCORED

ROOT = Path(__file__).parents[2]


def made(folder: Path, *arguments: str) -> list[str]:
  """What make prints there."""
  # A make around the tests hands down its settings, and names directories.
  own = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
  done = subprocess.run(
    ["make", *arguments],
    cwd=folder,
    env=own,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  lines = done.stdout.replace("\\\n", " ").splitlines()
  return [" ".join(line.split()) for line in lines]


def commands(folder: Path, *settings: str) -> list[str]:
  """The commands of `make -n tasks` there, each on one line."""
  return made(folder, "-n", "tasks", *settings)


def shown(lines: list[str]) -> str:
  """The call of slan-tasks that shows all."""
  return next(line for line in lines if "bin/slan-tasks --runs" in line)


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


def zero_shot(lines: list[str]) -> dict[str, str]:
  """What gives zero-shot scores, by task; these lines are taken out."""
  found = {}
  for line in [line for line in lines if "/zeroshot/eval/" in line]:
    lines.remove(line)
    if not line.startswith(("make", "mkdir")):
      found[line.rpartition("/")[2]] = line
  return found


def test_every_task_is_tuned_scored_and_shown(folder):
  lines = commands(folder)
  told = zero_shot(lines)
  place = "runs/tasks/zeroshot/eval"
  assert {*told} == {"detection", "grounding"}
  own = "runs/scenes/eval/grounding"  # where make pretrain scored it
  assert told["grounding"] == f"cp -R {own}/. {place}/grounding"
  lines = [line for line in lines if not line.endswith(f"--output {own}")]
  assert told["detection"].endswith(
    "slan-eval --workdir runs/scenes --task detection --data runs/data/scenes "
    f"--output {place}/detection"
  )
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
  (run / "eval" / "grounding").mkdir(parents=True)
  (run / "eval" / "grounding" / "metrics.json").touch()
  lines = commands(folder)
  again = "--workdir runs/scenes --task grounding"
  assert not any(again in line for line in lines)
  assert {*zero_shot(lines)} == {"detection", "grounding"}
  assert {*flags(lines, "slan-train")} == {*TASKS} - {"vqa"}
  assert {*flags(lines, "slan-eval")} == {*SCORED} - {"vqa"}


def test_from_scratch_with_a_seed_and_a_preset(folder):
  given = "SCRATCH=1", "SEED=1", "PRESET=paper"
  lines = commands(folder, *given)
  trained = flags(lines, "slan-train")
  assert not zero_shot(lines)
  assert {*trained} == {*TASKS}  # nothing is pre-trained
  for task, words in trained.items():
    assert f"finetune.py:{task},preset=paper " in words
    assert f"--workdir runs/tasks-paper-seed1-scratch/{task} " in words
    assert "init_from" not in words and words.endswith("--config.seed=1")
  page = "slan-tasks --runs runs/tasks-paper-seed1-scratch --output runs/tasks"
  assert page in shown(lines)  # there is nothing yet to stand beside
  (folder / "runs" / "tasks-paper-seed1" / "vqa" / "eval").mkdir(parents=True)
  page = (
    "--runs runs/tasks-paper-seed1 --scratch runs/tasks-paper-seed1-scratch"
  )
  assert page in shown(commands(folder, *given))


@pytest.mark.parametrize("other", ["DATA_SET=scenes_hard", "RUN=mine"])
def test_a_run_on_other_data_is_scored_on_that_of_the_tasks(folder, other):
  run = "mine" if other == "RUN=mine" else "runs/scenes_hard"
  told = zero_shot(commands(folder, other))
  for task in ("detection", "grounding"):
    assert told[task].endswith(
      f"--workdir {run} --task {task} --data runs/data/scenes --output "
      f"runs/tasks/zeroshot/eval/{task}"
    )


STUB = """#!/bin/sh
case $0 in
  *slan-tasks) echo "$@"; exit;;
  *slan-train) file=summary.json; flag=--workdir;;
  *slan-eval) file=metrics.json; flag=--output;;
  *slan-calibrate) file=calibration.json; flag=--workdir;;
  *) exit;;
esac
while test "$1" != $flag; do shift; done
mkdir -p "$2" && echo "$*" > "$2/$file"
"""


def test_seeds_are_summarised_by_the_command_that_is_printed(folder):
  """Run for good, with programs that only leave the files."""
  bin = folder / ".venv" / "bin"
  bin.mkdir()
  jobs = ("train", "eval", "calibrate", "report", "tasks")
  for name in ("python", *(f"slan-{job}" for job in jobs)):
    (bin / name).write_text(STUB)
    (bin / name).chmod(0o755)

  def told(*settings):
    return made(folder, "tasks", *settings)[-1]

  runs, end = "runs/tasks-seed0", "--output runs/tasks-seeds.html"
  program = "All seeds: .venv/bin/slan-tasks --runs"
  scratch = "runs/tasks-seed0-scratch"
  assert told("SEED=0", "SCRATCH=1") == f"{program} {scratch} {end}"
  assert told("SEED=0") == f"{program} {runs} --scratch {scratch} {end}"
  assert told("SEED=1") == (
    f"{program} {runs},runs/tasks-seed1 --scratch {scratch} {end}"
  )
  assert "seeds" not in told()
  own = folder / runs / "zeroshot" / "eval"
  text = (own / "grounding" / "metrics.json").read_text()
  assert text == "--output runs/scenes-seed0/eval/grounding\n"  # a copy
  assert (own / "detection" / "metrics.json").is_file()
