"""What goes wrong between checkpoints and the place that they lie in."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from slan_jax.training.errors import CorruptCheckpointError, SaveError


@contextlib.contextmanager
def writing(directory: epath.Path, step: int | None) -> Iterator[None]:
  """Says of any failure to write which checkpoint it is, and what is left.

  Args:
    directory: of the checkpoints.
    step: the one that is being written.

  Raises:
    SaveError: it cannot be written.
  """
  _ignore_strays()
  try:
    yield
  except jax.errors.JaxRuntimeError:
    raise  # of the devices or another process, not of the storage
  except Exception as error:
    found = re.search(r": ([A-Z][^:\"\[\]]*) \[os_error", str(error))
    reason = found[1] if found else getattr(error, "strerror", None)
    reason = reason or str(error).split("\n")[0][:200]
    kept = [other for other in _steps(directory) if other != step]
    kept = f"checkpoint {max(kept)} is kept" if kept else "there is no other"
    raise SaveError(
      f"checkpoint {step} cannot be written to {directory} ({reason}); {kept}. "
      "Once that is mended, the same command goes on"
    ) from error


def probe(directory: epath.Path) -> None:
  """Raises OSError at once when nothing can be written to a directory.

  Orbax makes its directories in the background, and waits five minutes for one
  that cannot be made.
  """
  path = directory / "probe"
  path.write_text("")
  path.unlink()


def _steps(directory: epath.Path) -> list[int]:
  try:
    names = [path.name for path in directory.iterdir()]
  except OSError:  # it is gone
    return []
  return [int(name) for name in names if name.isdigit()]


@contextlib.contextmanager
def reading(directory: epath.Path, step: int) -> Iterator[None]:
  """Calls corrupt whatever cannot be read, in all processes together.

  Args:
    directory: of the checkpoints.
    step: the one that is being read.

  Raises:
    CorruptCheckpointError: this process or another one cannot read it.
  """
  failure: Any = None
  _ignore_strays()
  try:
    yield
  except jax.errors.JaxRuntimeError:
    raise  # of the devices or another process, not of the storage
  except Exception as error:
    failure = error
  if jax.process_count() > 1:
    failed = multihost_utils.process_allgather(np.int32(failure is not None))
    if failed.any() and failure is None:
      failure = f"process {failed.argmax()} cannot read it"
  if failure is not None:
    cause = failure if isinstance(failure, Exception) else None
    raise corrupt(directory, step, failure) from cause


def corrupt(
  directory: epath.Path, step: int, reason: Any
) -> CorruptCheckpointError:
  """The error that names a checkpoint and the reason."""
  text = str(reason).strip().split("\n")[0][:200]
  return CorruptCheckpointError(
    f"checkpoint {step} in {directory} cannot be read ({text})"
  )


def _ignore_strays() -> None:
  """Silences arrays that are still under way when others have failed.

  Orbax reads or writes all arrays at once and gives up at the first that fails;
  each of the others then prints a traceback about a closed event loop, when it
  pleases: the filter stays.
  """
  previous = sys.unraisablehook
  if getattr(previous, "ignores_strays", False):
    return

  def hook(unraisable) -> None:
    if "Event loop is closed" not in str(unraisable.exc_value):
      previous(unraisable)

  hook.ignores_strays = True
  sys.unraisablehook = hook
