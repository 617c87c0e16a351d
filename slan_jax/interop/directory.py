"""A directory that appears whole or not at all."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_CONFIG = "config.json"


@contextlib.contextmanager
def written_whole(output: Path, *, force: bool) -> Iterator[Path]:
  """A new directory beside `output` that takes its place at the end.

  Args:
    output: must not exist, or be empty, unless `force`.
    force: replace an earlier export; anything else is never removed.

  Yields:
    Where to write; an error on the way leaves nothing behind.

  Raises:
    FileExistsError: something is there.
    OSError: the place is not writable.
  """
  output = Path(output).absolute()
  _check(output, force)
  output.parent.mkdir(parents=True, exist_ok=True)
  name = f".{output.name}."
  partial = Path(tempfile.mkdtemp(dir=output.parent, prefix=name))
  try:
    os.chmod(partial, 0o755)
    yield partial
    if output.exists():
      with tempfile.TemporaryDirectory(dir=output.parent, prefix=name) as old:
        output.rename(Path(old) / "old")
        partial.rename(output)
    else:
      partial.rename(output)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise


def _check(output: Path, force: bool) -> None:
  if not output.exists() or (output.is_dir() and not any(output.iterdir())):
    return
  if not _is_export(output):
    raise FileExistsError(
      f"{output} exists and is no export; choose another --output"
    )
  if not force:
    raise FileExistsError(f"{output} exists; --force replaces it")


def _is_export(output: Path) -> bool:
  try:
    found = json.loads((output / _CONFIG).read_text("utf-8"))
    return found["model_type"] == "slan"
  except (OSError, ValueError, KeyError, TypeError):
    return False
