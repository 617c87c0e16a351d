"""The scripts of launch/ parse, lint, and hand on what they are given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "launch").glob("*.s*"))  # slurm.sbatch too


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_lints(script):
  assert os.access(script, os.X_OK)
  # Beside the interpreter of an environment that is not activated.
  shellcheck = Path(sys.executable).with_name("shellcheck")
  for command in (["bash", "-n"], [str(shellcheck)]):
    done = subprocess.run([*command, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ablations_hands_its_arguments_on(tmp_path):
  echo = tmp_path / "python"
  echo.write_text('#!/bin/sh\nprintf "%s\\n" "$MALLOC_MMAP_MAX_" "$@"\n')
  echo.chmod(0o755)
  done = subprocess.run(
    [ROOT / "launch" / "ablations.sh", "--tables", "5", "--output", "a b"],
    env={**os.environ, "PYTHON": str(echo)}, cwd=tmp_path,
    capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines() == [
    "0", "-m", "slan_jax.jobs.ablate",
    "--config", f"{ROOT / 'configs' / 'ablations.py'}",
    "--tables", "5", "--output", "a b",
  ]  # fmt: skip


def test_ablations_without_an_environment_says_what_to_do(tmp_path):
  done = subprocess.run(
    [ROOT / "launch" / "ablations.sh"],
    env={**os.environ, "PYTHON": str(tmp_path / "none")},
    capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 2 and "make setup" in done.stderr
