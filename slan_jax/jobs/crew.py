"""Child processes: logged, timed, and told of the signals that reach us."""

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from slan_jax.training.stop import SIGNALS

_STOPPING = b"stopping: runs save first; a second signal ends them at once\n"


class BusyError(ValueError):
  """Another crew works on the same directory."""


class Ended(NamedTuple):
  """How a child ended.

  Attributes:
    code: exit code; minus the signal when it was killed.
    wall_seconds: from start to end.
    cpu_seconds: of all its threads and children, user and system.
  """

  code: int
  wall_seconds: float
  cpu_seconds: float


class Crew:
  """Runs children, from several threads if need be.

  Attributes:
    signal: the first signal that asked to stop, or None.
  """

  def __init__(self, directory: Path):
    """Claims a directory until this process and all children have ended.

    Raises:
      BusyError: another crew, or an orphan of one, still has it.
    """
    self.signal: int | None = None
    self._running: set[int] = set()
    self._turn = threading.RLock()  # a signal may fall into a signal
    directory.mkdir(parents=True, exist_ok=True)
    self._claim = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
      fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      os.close(self._claim)
      raise BusyError(
        f"{directory} is being worked on by another process, or by a run that "
        "one left behind; wait until it ends, or choose another --output"
      ) from None

  def close(self) -> None:
    """Gives the directory up; children that still run keep it."""
    os.close(self._claim)

  def run(self, command: Sequence[str], log: Path) -> Ended | None:
    """Runs a child to its end.

    Args:
      command: program and arguments.
      log: file that takes what it prints, behind what is there.

    Returns:
      How it ended; None when it was not begun because of a signal.
    """
    with self._turn, log.open("ab") as out:
      if self.signal is not None:
        return None
      out.write(f"$ {' '.join(command)}\n".encode())
      out.flush()
      began = time.monotonic()
      # A session of its own: Ctrl-C reaches it through us, and only once.
      process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(self._claim,),
      )
      self._running.add(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    with self._turn:
      self._running.discard(process.pid)
    return Ended(
      process.returncode,
      time.monotonic() - began,
      usage.ru_utime + usage.ru_stime,
    )

  @contextlib.contextmanager
  def listening(self) -> Iterator[None]:
    """Passes SIGTERM and Ctrl-C on to the children; nothing begins after."""

    def handle(number: int, frame) -> None:
      del frame
      os.write(2, _STOPPING)  # print() must not be entered twice
      with self._turn:
        self.signal = self.signal or number
        for child in self._running:
          with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    previous = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
      yield
    finally:
      for number, handler in previous.items():
        signal.signal(number, handler)
