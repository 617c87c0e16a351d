"""What is finished of a long evaluation, kept until all of it is.

A directory belongs to one evaluation, whose `key.json` says what decides its
values. Beside it lie the values of finished chunks, file after file, each
written whole. One process reads and writes; the others learn from it.
"""

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from slan_jax.evaluation.files import load_arrays, write_atomically

SECONDS = 30.0  # between two writes: what a kill costs at most
KEY = "key.json"
_PAUSE = 20  # times as long as a write took, so that writing costs 5 %
_BLOCK = 2**22  # values told to the other processes at once
LOG = logging.getLogger(__name__)


def digest(*parts: Any) -> str:
  """Sixteen hexadecimal digits of arrays, bytes and JSON values."""
  total = hashlib.sha256()
  for part in parts:
    if isinstance(part, np.ndarray):
      total.update(f"{part.dtype.str}{part.shape}".encode())
      part = np.ascontiguousarray(part).tobytes()
    elif not isinstance(part, bytes):
      part = json.dumps(part, sort_keys=True).encode()
    total.update(len(part).to_bytes(8, "little") + part)
  return total.hexdigest()[:16]


class Partial:
  """The finished chunks of one evaluation."""

  def __init__(
    self,
    directory: Path | None,
    key: str = "",
    *,
    first: bool = True,
    share: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    seconds: float = SECONDS,
  ):
    """Opens a directory; one of another key is removed, with a warning.

    Args:
      directory: of this evaluation alone, also in a bucket; None = nothing is
        kept.
      key: of all that decides the values.
      first: whether this process reads and writes.
      share: gives the array that the first process has in its place, of the
        same shape and type.
      seconds: between two writes at least.

    Raises:
      ValueError: it cannot be written.
    """
    self._directory = None
    self._share, self._seconds = share, seconds
    self._pending: dict[str, dict[int, np.ndarray]] = {}
    if directory is not None and first:
      self._directory = epath.Path(directory)
      try:
        self._claim(key)
      except OSError as error:
        raise ValueError(
          f"{directory} cannot be written ({error}), and so neither what is "
          "finished nor the result; choose another --output"
        ) from error
    self._number, self._warned = len(self.files()), False
    self._due = time.monotonic() + seconds

  def _claim(self, key: str) -> None:
    path, content = self._directory / KEY, json.dumps({"key": key}).encode()
    if path.exists() and path.read_bytes() != content:
      LOG.warning(
        "%s holds parts of an evaluation of other parameters, data or "
        "settings: they are removed, and scoring begins anew",
        self._directory,
      )
      self._directory.rmtree()
    write_atomically(path, content)

  def files(self) -> list[Path]:
    """The files that hold finished chunks, oldest first."""
    if self._directory is None:
      return []
    return sorted(self._directory.glob("[0-9]*.npz"))

  def stage(self, name: str, sizes: Sequence[int], *decides: Any) -> "Stage":
    """Opens a stage of the evaluation; every process must.

    Args:
      name: of the stage.
      sizes: number of values of each chunk.
      *decides: arrays and JSON values that decide its chunks, beside the key
        of the evaluation.
    """
    name = f"{name}-{digest(list(map(int, sizes)), *decides)}"
    return Stage(self, name, self._shared(self._read(name, sizes), sizes))

  def add(self, stage: str, chunk: int, values: np.ndarray) -> None:
    """Keeps a finished chunk, and writes what is kept where it is time."""
    if self._directory is None:
      return
    self._pending.setdefault(stage, {})[chunk] = values
    begun = time.monotonic()
    if begun < self._due:
      return
    try:
      for name in list(self._pending):
        self._write(name, self._pending[name])
        del self._pending[name]
    except OSError as error:  # the scores themselves are not in danger
      if not self._warned:
        LOG.warning(
          "%s cannot be written (%s): scoring goes on, but a restart would "
          "begin anew",
          self._directory,
          error,
        )
      self._warned = True
    now = time.monotonic()
    self._due = now + max(self._seconds, _PAUSE * (now - begun))

  def _write(self, stage: str, held: dict[int, np.ndarray]) -> None:
    buffer = io.BytesIO()  # compressing scores takes long and saves little
    np.savez(
      buffer,
      chunks=np.array([*held], np.int64),
      sizes=np.array([x.size for x in held.values()], np.int64),
      values=np.concatenate([x.ravel() for x in held.values()]),
    )
    path = self._directory / f"{self._number:06d}-{stage}.npz"
    write_atomically(path, buffer.getvalue())
    self._number += 1

  def _read(self, stage: str, sizes: Sequence[int]) -> dict[int, np.ndarray]:
    found = {}
    axes = {"chunks": 1, "sizes": 1, "values": 1}
    for path in self.files():
      if not path.name.endswith(f"-{stage}.npz"):
        continue
      try:
        held = load_arrays(path, axes)
        parts = np.split(held["values"], np.cumsum(held["sizes"])[:-1])
        rows = [int(chunk) for chunk in held["chunks"]]
        if [sizes[row] for row in rows] != [part.size for part in parts]:
          raise ValueError(f"{path}: its chunks have other sizes")
      except (OSError, ValueError, IndexError) as error:
        LOG.warning("%s; its chunks are scored again", error)
        continue
      found.update(zip(rows, parts))
    return found

  def _shared(
    self, found: dict[int, np.ndarray], sizes: Sequence[int]
  ) -> dict[int, np.ndarray]:
    """What the first process found, in every process."""
    done = np.array([row in found for row in range(len(sizes))], np.int32)
    rows = np.flatnonzero(self._share(done))
    ends = np.cumsum([sizes[row] for row in rows], dtype=int)
    values = np.zeros(ends[-1] if len(ends) else 0, np.float32)
    if found:
      np.concatenate([found[row] for row in rows], out=values)
    for start in range(0, len(values), _BLOCK):
      block = slice(start, start + _BLOCK)
      values[block] = self._share(values[block])
    return dict(zip(rows.tolist(), np.split(values, ends[:-1])))


class Stage:
  """One stage of an evaluation, chunk by chunk."""

  def __init__(
    self, partial: Partial, name: str, finished: dict[int, np.ndarray]
  ):
    """See `Partial.stage`."""
    self._partial, self._name, self._finished = partial, name, finished

  def take(self, chunk: int) -> np.ndarray | None:
    """float32 values of a chunk that was finished before, once; or None."""
    return self._finished.pop(chunk, None)

  def add(self, chunk: int, values: np.ndarray) -> None:
    """Keeps the float32 values of a chunk that is finished now."""
    self._partial.add(self._name, chunk, values)


NOTHING = Partial(None)  # for evaluations that are not kept
