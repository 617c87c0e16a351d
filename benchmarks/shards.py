"""Prepared directories for the benchmarks of the input."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from array_record.python import array_record_module
from etils import epath

from data.metadata import shard_names, write_metadata
from data.schema import Serialiser, features, record
from data.vocabulary import words_tokenizer, write_tokenizer
from slan_jax.input.image import read_size

CAPTION = "a red dog beside two blue cats"


def serialise(pictures: Iterable[bytes]) -> Iterator[bytes]:
  """Encoded pictures as stored records, each with one caption."""
  write = Serialiser(features())
  for number, image in enumerate(pictures):
    yield write(record(f"r{number}", image, read_size(image), [CAPTION]))


def write_records(
  directory: Path, rows: Iterable[bytes], *, shards: int = 1
) -> None:
  """Writes a prepared directory with the split `train`.

  Args:
    directory: Is made.
    rows: Stored records.
    shards: Files that the records are dealt to in turn.
  """
  directory.mkdir(parents=True)
  paths = [directory / name for name in shard_names("bench", "train", shards)]
  writers = [
    array_record_module.ArrayRecordWriter(
      str(path), "group_size:1,uncompressed"
    )
    for path in paths
  ]
  lengths = [0] * shards
  for number, row in enumerate(rows):
    writers[number % shards].write(row)
    lengths[number % shards] += 1
  for writer in writers:
    writer.close()
  sizes = {"train": sum(path.stat().st_size for path in paths)}
  write_metadata(
    epath.Path(directory), "bench", features(), {"train": lengths}, sizes
  )
  tokenizer = words_tokenizer(sorted({*CAPTION.split()}))
  write_tokenizer(tokenizer, directory / "tokenizer")
