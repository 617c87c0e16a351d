"""Which shards a data set will have, and what each is made of."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any, Self

from etils import epath

from data.errors import PreparationError
from data.metadata import shard_names
from data.report import NOTES
from data.shard import Job
from data.source import Source


class Plan(contextlib.AbstractContextManager):
  """The items of a source, listed once and cut into shards.

  They are kept in a temporary file: ten million do not fit into memory.
  """

  def __init__(
    self,
    source: Source,
    *,
    name: str,
    folder: epath.Path,
    settings: dict[str, Any],
    shards: int | None = None,
    decode: bool = False,
  ):
    """Lists the items.

    Args:
      source: What to prepare.
      name: Of the data set; files are named by it.
      folder: Where the shards will lie.
      settings: Options that the content depends on.
      shards: Number of shards of every split, at most one per item; None
        leaves it to the source.
      decode: Decode every picture to its end.

    Raises:
      PreparationError: The source has no item.
    """
    self.name = name
    self.folder = folder
    self.totals: dict[str, int] = {}
    self.source, self._decode = source, decode
    self._settings = json.dumps(settings, sort_keys=True)
    self._shards = shards
    self._files: dict[str, IO[str]] = {}
    self._open = contextlib.ExitStack()
    for split, item in source.items():
      if split not in self._files:
        file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._files[split] = self._open.enter_context(file)
        self.totals[split] = 0
      self._files[split].write(json.dumps(item) + "\n")
      self.totals[split] += 1
    if not self.totals:
      raise PreparationError(f"--source {source.root} lists nothing to read")

  def __exit__(self, *error) -> None:
    self._open.close()

  def per_shard(self, split: str) -> int:
    """Items of each shard but the last."""
    if self._shards is None:
      return self.source.per_shard
    return -(-self.totals[split] // self._shards)

  def paths(self, split: str) -> list[epath.Path]:
    """The shards of a split, named as TFDS expects."""
    count = -(-self.totals[split] // self.per_shard(split))
    return [self.folder / n for n in shard_names(self.name, split, count)]

  def jobs(self) -> Iterator[Job]:
    """Every shard's job, in order; may be asked for again."""
    for split, file in self._files.items():
      file.seek(0)
      for path in self.paths(split):
        lines = islice(file, self.per_shard(split))
        yield Job(
          source=self.source,
          split=split,
          items=[line.rstrip("\n") for line in lines],
          path=path,
          note=self.folder / NOTES / f"{path.name}.json",
          decode=self._decode,
          settings=self._settings,
        )

  def __enter__(self) -> Self:
    return self
