"""The other processes of a run: joining them, and noticing when one is gone.

JAX notices a dead process too, but late, by aborting, and without its name. So
every process tells the coordinator that it lives, and why it left when it does;
what each one reads there it can say before it ends.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import jax
from jax._src import distributed  # the only way to the coordinator's store

NAMES, SIGNS, LEFT = "slan/names/", "slan/signs/", "slan/left/"
PEER_LOST = 4  # exit code
DONE = "done"
# Explicit coordinator, where no cluster is recognised.
ADDRESS, COUNT, INDEX = (
  "JAX_COORDINATOR_ADDRESS",
  "JAX_NUM_PROCESSES",
  "JAX_PROCESS_ID",
)
_EXPECTED = (
  f"Expected in the environment: {ADDRESS}=HOST:PORT of process 0, {COUNT}=N "
  f"and {INDEX}=0 ... N - 1"
)


class PeerLostError(RuntimeError):
  """Another process of this run is gone, so this one cannot go on."""


class Patience(NamedTuple):
  """How long a process waits for the others, in seconds.

  Attributes:
    joining: for the coordinator and all processes to be there.
    silence: for a sign of life.
  """

  joining: float
  silence: float

  @property
  def beat(self) -> float:
    """Seconds between signs of life."""
    return min(5.0, self.silence / 6)


def together(job: Callable[[], int | None], patience: Patience) -> int | None:
  """Joins the other processes, does a job with them, and leaves with them.

  Args:
    job: returns an exit code, None for 0.
    patience: how long to wait for the others.

  Returns:
    The job's exit code.

  Raises:
    PeerLostError: the job failed because another process is gone.
    Exception: whatever else the job raised; the others have been told.
  """
  join(patience)
  watch = Watch(patience)
  try:
    code = job()
  except BaseException as error:
    if _of_a_collective(error):
      if cause := watch.blame():
        raise PeerLostError(cause) from error
      if "Gloo" in str(error):
        raise PeerLostError(
          f"the network failed, though every process lives: {error}"
        ) from error
    watch.leave(f"{type(error).__name__}: {error}")
    raise
  watch.leave(DONE)
  return code


def leave(code: int) -> NoReturn:
  """Ends this process at once: a normal exit waits for all processes."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def join(patience: Patience) -> None:
  """Joins the other processes of this run.

  Args:
    patience: how long to wait; after that the process ends with PEER_LOST.

  Raises:
    ValueError: no cluster is recognised and none is described.
  """
  # Its handler would take SIGTERM away from the training loop.
  jax.config.update("jax_enable_preemption_service", False)
  where = _described()
  # JAX waits in native code that aborts when the time is over: be earlier.
  late = threading.Timer(patience.joining, _explain_absence, [patience.joining])
  late.daemon = True
  late.start()
  try:
    jax.distributed.initialize(
      **where,
      initialization_timeout=int(patience.joining) + 60,
      heartbeat_timeout_seconds=int(2 * patience.silence) + 60,
      shutdown_timeout_seconds=int(patience.silence) + 60,
    )
  except ValueError as error:
    raise ValueError(
      f"--distributed: neither a TPU pod nor a Slurm job was recognised "
      f"({error}). {_EXPECTED}"
    ) from error
  finally:
    late.cancel()


def _described() -> dict:
  """The run as the environment tells it; {} = a TPU pod or Slurm knows."""
  given = {name: os.environ.get(name) for name in (ADDRESS, COUNT, INDEX)}
  if not given[COUNT] and not given[INDEX]:
    return {}
  try:
    address = given[ADDRESS] or ""
    host, _, port = address.rpartition(":")
    int(port)
    count, index = int(given[COUNT] or ""), int(given[INDEX] or "")
  except ValueError:
    host, count, index = "", 0, 0
  if not host or not 0 <= index < count:
    raise ValueError(f"--distributed: found {given}. {_EXPECTED}")
  return {
    "coordinator_address": address,
    "num_processes": count,
    "process_id": index,
    "cluster_detection_method": "deactivate",
  }


def _explain_absence(seconds: float) -> None:
  state = distributed.global_state
  address = state.coordinator_address
  me, count = state.process_id, os.environ.get(COUNT, "all")
  if not address:
    text = "no cluster answered; is this a TPU pod or a Slurm job?"
  elif me == 0:
    text = (
      f"this is process 0, the coordinator at {address}; not all of the "
      f"{count} processes came. Start the others, and let them reach it"
    )
  elif _answers(address):
    text = (
      f"the coordinator at {address} is there, but not all of the {count} "
      "processes came. Start the others"
    )
  else:
    text = (
      f"nothing answers at {address}, where process 0 should coordinate. Is it "
      "running, and does a firewall let this host reach that port?"
    )
  _say(f"process {me} waited {seconds:.0f} s for the other processes: {text}")
  leave(PEER_LOST)


def _answers(address: str) -> bool:
  host, _, port = address.rpartition(":")
  try:
    socket.create_connection((host, int(port)), 5).close()
  except OSError:
    return False
  return True


def _of_a_collective(error: BaseException) -> bool:
  """Whether an error may be the echo of another process's end."""
  text = str(error)
  strange = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in text
  return strange and "RESOURCE_EXHAUSTED" not in text  # out of memory


def _say(text: str) -> None:
  print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)


class Watch:
  """Gives signs of life, and ends this process when another one is gone."""

  def __init__(self, patience: Patience):
    """Begins to watch; all processes have joined."""
    state = distributed.global_state
    self._patience, self._store = patience, state.client
    self._me, self._count = state.process_id, state.num_processes
    self._names = {0: state.coordinator_address}
    self._seen = {peer: ("", time.monotonic()) for peer in range(self._count)}
    self._cause = ""
    self._wake, self._over = threading.Event(), threading.Event()
    self._asked, self._found = threading.Event(), threading.Event()
    name = f"{socket.gethostname()}, pid {os.getpid()}"
    self._store.key_value_set(f"{NAMES}{self._me}", name)
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def blame(self) -> str:
    """Which process is gone, and why, after a failure; "" = none is."""
    self._asked.set()
    self._wake.set()
    self._found.wait(6 * self._patience.beat)
    self._linger()
    return self._cause

  def leave(self, why: str) -> None:
    """Stops watching and tells the others why this process goes."""
    self._over.set()
    self._wake.set()
    self._thread.join()
    if self._cause:
      return
    self._store.key_value_set(f"{LEFT}{self._me}", " ".join(why.split())[:500])
    if why != DONE:
      self._linger()

  def _linger(self) -> None:
    """Lets the others read the store, which goes with the coordinator."""
    if self._me == 0:
      time.sleep(2 * self._patience.beat)

  def _run(self) -> None:
    count = 0
    while not self._over.is_set():
      count += 1
      try:
        self._store.key_value_set(
          f"{SIGNS}{self._me}", str(count), allow_overwrite=True
        )
        cause = self._look()
      except jax.errors.JaxRuntimeError as error:
        cause = f"{self._name(0)}, the coordinator, is gone ({error})"
      if cause:
        self._end(cause)
        return
      if self._asked.is_set():
        time.sleep(self._patience.beat / 10)
      else:
        self._wake.wait(self._patience.beat)

  def _look(self) -> str:
    """Why this process cannot go on, or "" when all is well."""
    if len(self._names) < self._count or ":" in self._names[0]:
      self._names |= self._read(NAMES)
    left = self._read(LEFT)
    for peer, why in left.items():
      if why != DONE:
        return f"{self._name(peer)} ended: {why}"
    now, signs = time.monotonic(), self._read(SIGNS)
    # After a failure somebody is known to be gone: less patience finds who.
    limit = self._patience.silence
    if self._asked.is_set():
      limit = 3 * self._patience.beat
    for peer, (sign, since) in self._seen.items():
      if signs.get(peer, "") != sign:
        self._seen[peer] = (signs[peer], now)
      elif now - since > limit and peer not in left:
        silent = f"gave no sign of life for {now - since:.0f} s"
        return f"{self._name(peer)} {silent}"
    return ""

  def _read(self, place: str) -> dict[int, str]:
    pairs = self._store.key_value_dir_get(place)
    return {int(key.rpartition("/")[2]): value for key, value in pairs}

  def _name(self, peer: int) -> str:
    return f"process {peer} ({self._names.get(peer, 'host unknown')})"

  def _end(self, cause: str) -> None:
    """Tells the main thread, if it asks; else ends the process."""
    self._cause = f"{cause}. Process {self._me} cannot go on without it"
    if self._asked.is_set():
      self._found.set()
      return
    _say(self._cause)
    self._linger()
    leave(PEER_LOST)
