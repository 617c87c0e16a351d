"""A process of several notices in time that another is gone, and names it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slan_jax.jobs import peers

ROOT = Path(__file__).parents[2]
# Sums over both processes until something happens; argv: silence, how it ends.
JOB = """
import sys, time
import jax, numpy as np
from jax.experimental import multihost_utils
from slan_jax.jobs import peers

end = sys.argv[2]

def job():
  me = jax.process_index()
  for step in range(10**6):
    total = multihost_utils.process_allgather(np.int32(1)).sum()
    assert total == 2
    print("step", step, flush=True)
    if step == 3 and me == 1:
      if end == "error":
        raise OSError("No space left on device")
    if step == 3 and end == "idle" and me == 0:
      time.sleep(600)  # as in a device program that never returns
    time.sleep(0.05)

try:
  sys.exit(peers.together(job, peers.Patience(60.0, float(sys.argv[1]))))
except peers.PeerLostError as error:
  print("lost:", error, file=sys.stderr)
  peers.leave(peers.PEER_LOST)
except OSError as error:
  print("own:", error, file=sys.stderr)
  peers.leave(2)
"""


def told(index: int, address: str) -> dict[str, str]:
  return {peers.ADDRESS: address, peers.COUNT: "2", peers.INDEX: str(index)}


def environment(index: int, address: str) -> dict[str, str]:
  rest = {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
  return {**os.environ, **rest, **told(index, address)}


@pytest.fixture
def address() -> str:
  """Where nobody listens."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def start(address, tmp_path):
  """(silence, end) -> both processes of JOB; ended when the test is over."""
  started = []

  def run(silence: float, end: str) -> list[subprocess.Popen]:
    for index in (0, 1):
      with (
        open(tmp_path / f"out{index}", "w") as out,
        open(tmp_path / f"err{index}", "w") as err,
      ):
        command = [sys.executable, "-c", JOB, str(silence), end]
        process = subprocess.Popen(
          command, env=environment(index, address), stdout=out, stderr=err
        )
      started.append(process)
    return started

  yield run
  for process in started:
    process.kill()
    process.wait()


def wait_for_step(tmp_path: Path, step: int) -> None:
  deadline = time.monotonic() + 120
  while f"step {step}\n" not in (tmp_path / "out0").read_text():
    assert time.monotonic() < deadline
    time.sleep(0.02)


def test_an_error_is_told_to_the_others(start, tmp_path):
  first, second = start(30.0, "error")
  assert second.wait(120) == 2 and first.wait(60) == peers.PEER_LOST
  who = f"process 1 ({socket.gethostname()}, pid {second.pid})"
  text = (tmp_path / "err0").read_text()
  assert f"{who} ended: OSError: No space left on device" in text


def test_a_killed_process_is_named(start, tmp_path):
  first, second = start(6.0, "idle")
  wait_for_step(tmp_path, 3)
  second.kill()
  began = time.monotonic()
  assert first.wait(60) == peers.PEER_LOST
  assert time.monotonic() - began < 30  # 6 s of silence, on a busy machine
  text = (tmp_path / "err0").read_text()
  assert f"pid {second.pid}) gave no sign of life for" in text


def test_a_broken_connection_finds_the_culprit_sooner(start, tmp_path):
  first, second = start(12.0, "never")
  wait_for_step(tmp_path, 3)
  second.kill()
  assert first.wait(60) == peers.PEER_LOST
  text = (tmp_path / "err0").read_text()
  assert "lost: process 1" in text and f"pid {second.pid}" in text


def join(given: dict[str, str]) -> subprocess.CompletedProcess:
  """A process that joins a run, told by the environment, for a second."""
  program = (
    "from slan_jax.jobs import peers; peers.join(peers.Patience(1.0, 6.0))"
  )
  rest = {k: v for k, v in environment(0, "").items() if "JAX_" not in k}
  return subprocess.run(
    [sys.executable, "-c", program],
    env=rest | given,
    capture_output=True,
    text=True,
  )


@pytest.mark.parametrize(
  "index, message",
  [
    (0, "this is process 0, the coordinator at {}; not all of the 2 processes"),
    (1, "nothing answers at {}, where process 0 should coordinate"),
  ],
)
def test_waiting_for_the_others_ends(address, index, message):
  done = join(told(index, address))
  assert done.returncode == peers.PEER_LOST
  assert f"process {index} waited 1 s" in done.stderr
  assert message.format(address) in done.stderr


@pytest.mark.parametrize(
  "given, message",
  [
    ({}, "neither a TPU pod nor a Slurm job was recognised"),
    (told(2, "host:1"), "'JAX_PROCESS_ID': '2'"),
  ],
)
def test_a_run_that_is_not_described_is_refused(given, message):
  done = join(given)
  assert done.returncode == 1 and "ValueError: --distributed" in done.stderr
  assert message in done.stderr
  assert "Expected in the environment: JAX_COORDINATOR_ADDRESS=" in done.stderr
