"""Children are logged, timed, and keep their directory to themselves."""

import os
import signal
import sys
import threading
import time

import pytest

from slan_jax.jobs.crew import BusyError, Crew


@pytest.fixture
def crew(tmp_path):
  made = Crew(tmp_path / "home")
  yield made
  made.close()


def test_log_code_and_times(crew, tmp_path):
  log = tmp_path / "log"
  code = "import time; print('x'); time.sleep(.2); raise SystemExit(7)"
  ended = crew.run([sys.executable, "-c", code], log)
  assert ended.code == 7
  assert ended.wall_seconds >= 0.2 and ended.cpu_seconds > 0
  code = "sum(range(3_000_000)); import os; os.kill(os.getpid(), 9)"
  killed = crew.run([sys.executable, "-c", code], log)
  assert killed.code == -9 and killed.cpu_seconds > ended.cpu_seconds
  lines = log.read_text().splitlines()
  assert lines[1] == "x" and [line[0] for line in lines] == ["$", "x", "$"]


def test_a_directory_has_one_crew(crew, tmp_path):
  with pytest.raises(BusyError, match="home is being worked on"):
    Crew(tmp_path / "home")


def test_an_orphan_keeps_the_directory(tmp_path):
  lost = Crew(tmp_path / "home")
  pid = tmp_path / "pid"
  script = f"""
import os, pathlib, time
pathlib.Path({str(pid)!r}).write_text(str(os.getpid()) + ".")
time.sleep(60)
"""
  command = [sys.executable, "-S", "-c", script]
  thread = threading.Thread(target=lost.run, args=(command, tmp_path / "log"))
  thread.start()
  while not (pid.exists() and pid.read_text().endswith(".")):
    time.sleep(0.01)
  lost.close()  # as when the parent is killed
  try:
    with pytest.raises(BusyError):
      Crew(tmp_path / "home")
  finally:
    os.kill(int(pid.read_text()[:-1]), signal.SIGKILL)
    thread.join()
  Crew(tmp_path / "home").close()
