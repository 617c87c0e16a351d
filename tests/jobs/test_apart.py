"""Calls in a process of their own."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from slan_jax.jobs.apart import call_apart


def answer_and_leave_a_thread(number: int) -> tuple[int, int]:
  threading.Thread(target=time.sleep, args=(600,)).start()
  return number + 1, os.getpid()


def refuse(text: str) -> None:
  raise ValueError(text)


def vanish() -> None:
  os._exit(7)


def test_threads_that_are_left_end_with_the_answer():
  number, process = call_apart(answer_and_leave_a_thread, 1)
  assert number == 2 and process != os.getpid()
  with pytest.raises(ProcessLookupError):
    os.kill(process, 0)


def test_what_it_raises_is_raised_here():
  with pytest.raises(ValueError, match="--topology=v9") as told:
    call_apart(refuse, "--topology=v9")
  assert "in refuse" in told.value.__notes__[0]  # where it was raised


def test_an_end_without_an_answer_is_told():
  with pytest.raises(ChildProcessError, match=r"vanish: .* ended with 7"):
    call_apart(vanish)


WAITING = """
import os, time
from slan_jax.jobs.apart import call_apart
from tests.jobs.test_apart import tell_and_wait
if __name__ == "__main__":
  call_apart(tell_and_wait)
"""


def tell_and_wait() -> None:
  print(os.getpid(), flush=True)
  time.sleep(600)


def test_a_killed_caller_takes_it_along(tmp_path):
  script = tmp_path / "waiting.py"
  script.write_text(WAITING)
  environment = os.environ | {"PYTHONPATH": os.getcwd()}
  with subprocess.Popen(
    [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment
  ) as caller:
    child = int(caller.stdout.readline())
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    for _ in range(200):
      try:
        os.kill(child, 0)
      except ProcessLookupError:
        break
      time.sleep(0.05)
    else:
      os.kill(child, signal.SIGKILL)
      pytest.fail("it outlived its caller")
