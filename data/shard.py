"""One output file: written whole by any process, on any machine, or not at all.

A shard is made from its job alone, so that the bytes do not depend on who
writes it. Beside it lies a note of what it holds; a shard that has a note with
the key of its job is finished, and a later run keeps it.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from array_record.python import array_record_module
from etils import epath
from tensorflow_datasets.proto import tf_example_pb2

from data.assembly import assemble
from data.errors import Unusable
from data.parts import LEARNABLE, learnable_texts
from data.report import Report, is_local
from data.schema import Serialiser, features
from data.source import Example, Skip, Source

_FORMAT = 3  # raise it when the same job would give other bytes
_WRITER = "group_size:1,uncompressed"  # pictures are compressed already


class Job(NamedTuple):
  """What one shard is made of.

  Attributes:
    source: Reads the items.
    split: Its split.
    items: JSON of each item, in the order of storage.
    path: File to write.
    note: File that will describe it.
    decode: Decode every picture to its end.
    settings: Options that the content depends on, as JSON.
  """

  source: Source
  split: str
  items: list[str]
  path: epath.Path
  note: epath.Path
  decode: bool
  settings: str

  @property
  def key(self) -> str:
    """Changes when the content of the shard would."""
    parts = [str(_FORMAT), self.settings, self.split, *self.items]
    return hashlib.blake2b("\n".join(parts).encode()).hexdigest()[:32]


@dataclasses.dataclass
class Note:
  """What a finished shard holds.

  Attributes:
    key: Of its job.
    length: Records.
    bytes: Size of the file.
    report: Counts.
    ids: A hash of every record's name, in order.
    captions: Every text that a vocabulary may be learned from.
  """

  key: str
  length: int
  bytes: int
  report: Report
  ids: list[int]
  captions: list[str]


def write_shard(
  job: Job, advance: Callable[[int], None] = lambda items: None
) -> None:
  """Writes a shard and its note, unless both are there.

  Args:
    job: What to write.
    advance: Called with the number of items done.
  """
  if read_note(job):
    advance(len(job.items))
    return
  report, seen, captions = Report(), {}, []
  serialise = Serialiser(features(**job.source.fields()))
  with replaced(job.path) as path:
    writer = array_record_module.ArrayRecordWriter(os.fspath(path), _WRITER)
    for text in job.items:
      for record in read_records(job, json.loads(text), report):
        number = name_hash(record["id"])
        if number in seen:
          report.skip("duplicate id", record["id"])
          continue
        try:
          data = serialise(record)
        except Exception as error:  # of a field that the source has added
          report.skip(f"reader failed: {type(error).__name__}", record["id"])
          continue
        seen[number] = None
        writer.write(data)
        report.write(job.split)
        captions += learnable_texts(record)
      advance(1)
    writer.close()
    size = path.stat().st_size
  note = Note(job.key, len(seen), size, report, list(seen), captions)
  write_note(job, note)


def read_records(
  job: Job, item: Any, report: Report
) -> Iterator[dict[str, Any]]:
  """Usable records of an item; whatever else it holds is counted.

  Args:
    job: Whose source reads the item.
    item: The item.
    report: Counts what is left out, and repairs.
  """
  name = job.source.label(item)
  read = _read(job, item)
  while True:
    try:
      found = next(read)
    except StopIteration:
      return
    except Unusable as error:
      report.skip(str(error), name)
      return
    except Exception as error:  # a broken file must not end hours of work
      report.skip(f"reader failed: {type(error).__name__}", name)
      return
    if isinstance(found, Skip):
      report.skip(*found)
      continue
    if record := _assembled(job, found, report):
      yield record


def _read(job: Job, item: Any) -> Iterator[Example | Skip]:
  # A generator even where the source's own method raises at once.
  yield from job.source.read(job.split, item)


def _assembled(
  job: Job, example: Example, report: Report
) -> dict[str, Any] | None:
  name = str(example.name)
  try:
    record, notes = assemble(example, decode=job.decode)
  except Unusable as error:
    report.skip(str(error), name)
    return None
  except Exception as error:  # of a shape that no reader should give
    report.skip(f"reader failed: {type(error).__name__}", name)
    return None
  for note in notes:
    report.repair(note, name)
  return record


def drop_records(job: Job, note: Note, numbers: set[int]) -> None:
  """Rewrites a shard without some of its records, as duplicates.

  Args:
    job: The shard's.
    note: The shard's.
    numbers: Places of the records within the shard.
  """
  job.note.unlink()  # until it is whole again
  with replaced(job.path) as path:
    kept = path.with_name("kept")
    job.path.copy(kept)
    reader = array_record_module.ArrayRecordReader(os.fspath(kept))
    writer = array_record_module.ArrayRecordWriter(os.fspath(path), _WRITER)
    note.captions = []
    for number in range(note.length):
      data = reader.read([number])[0]
      fields = tf_example_pb2.Example.FromString(data).features.feature
      if number in numbers:
        (name,) = _texts(fields["id"])
        note.report.withdraw(job.split, "duplicate id", name)
      else:
        writer.write(data)
        for name in LEARNABLE:
          note.captions += _texts(fields[name]) if name in fields else []
    writer.close()
    reader.close()
    note.bytes = path.stat().st_size
  note.ids = [h for n, h in enumerate(note.ids) if n not in numbers]
  note.length = len(note.ids)
  write_note(job, note)


def _texts(field: Any) -> list[str]:
  return [text.decode() for text in field.bytes_list.value]


def name_hash(name: str) -> int:
  """64 bits of a name: among 14 million, two agree with a chance of 1e-5."""
  digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
  return int.from_bytes(digest, "little")


def write_note(job: Job, note: Note) -> None:
  with replaced(job.note) as path:
    path.write_text(json.dumps(dataclasses.asdict(note)), "utf-8")


def read_note(job: Job) -> Note | None:
  """The note of a finished shard, or None when it has to be written."""
  try:
    row = json.loads(job.note.read_text())
    note = Note(**{**row, "report": Report(**row["report"])})
    whole = job.path.stat().length == note.bytes
  except (OSError, ValueError, TypeError, KeyError):
    return None
  return note if whole and note.key == job.key else None


@contextlib.contextmanager
def replaced(target: epath.Path) -> Iterator[Path]:
  """A local file to write that takes the place of `target` when it is whole.

  Shards are written by a library that knows local files only; to a bucket the
  whole file is copied, and appears there when the copy is complete.
  """
  local = is_local(target)
  target.parent.mkdir(parents=True, exist_ok=True)
  folder = os.fspath(target.parent) if local else None
  with tempfile.TemporaryDirectory(prefix=".", dir=folder) as place:
    made = Path(place) / target.name
    yield made
    if local:
      os.replace(made, os.fspath(target))
    else:
      epath.Path(made).copy(target, overwrite=True)
