"""From a source to a whole prepared directory."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from data import schema
from data.errors import PreparationError
from data.metadata import write_metadata
from data.plan import Plan
from data.report import Report, write_report
from data.shard import Job, Note, drop_records, read_note

_LEARNED_FROM = 1_000_000  # captions, the first ones
Runner = Callable[[Iterable[Job]], None]


class Packed(NamedTuple):
  """What the shards hold.

  Attributes:
    report: The counts of all of them.
    lengths: Records of each shard, by split.
    sizes: Bytes, by split.
  """

  report: Report
  lengths: dict[str, list[int]]
  sizes: dict[str, int]


def pack(plan: Plan, run: Runner) -> Packed:
  """Writes all shards that are not there yet.

  Args:
    plan: The shards.
    run: Writes the shards of jobs, anywhere and in any order.

  Returns:
    What they hold.

  Raises:
    PreparationError: A split has no usable record.
  """
  run(plan.jobs())
  drop_duplicates(plan.jobs)
  report, lengths, sizes = Report(), {}, {}
  for job in plan.jobs():
    note = _note(job)
    report.add(note.report)
    lengths.setdefault(job.split, []).append(note.length)
    sizes[job.split] = sizes.get(job.split, 0) + note.bytes
  if not report.balances():
    raise AssertionError(f"records were lost: {report}")
  for split, counts in lengths.items():
    if not sum(counts):
      lines = "; ".join(report.lines())
      raise PreparationError(f"split {split!r} has no usable record: {lines}")
  return Packed(report, lengths, sizes)


def finish(plan: Plan, packed: Packed, settings: dict[str, Any]) -> None:
  """Makes a data set of the shards: what TFDS needs, then the report."""
  fields = schema.features(**plan.source.fields())
  write_metadata(plan.folder, plan.name, fields, packed.lengths, packed.sizes)
  made = {path.name for split in plan.totals for path in plan.paths(split)}
  for path in plan.folder.iterdir():
    stale = ".array_record-" in path.name and path.name not in made
    if path.name.startswith("."):
      path.rmtree()
    elif stale:  # of an earlier attempt with another number of shards
      path.unlink()
  write_report(plan.folder, packed.report, settings)


def captions(plan: Plan) -> list[str]:
  """Captions to learn a vocabulary from: the first of training, in order."""
  split = "train" if "train" in plan.totals else next(iter(plan.totals))
  notes = (_note(job) for job in plan.jobs() if job.split == split)
  texts = itertools.chain.from_iterable(note.captions for note in notes)
  return list(itertools.islice(texts, _LEARNED_FROM))


def _note(job: Job) -> Note:
  note = read_note(job)
  if note is None:
    raise PreparationError(
      f"shard {job.path} was not written whole; run the same command again"
    )
  return note


def drop_duplicates(jobs: Callable[[], Iterator[Job]]) -> None:
  """Leaves the first record of each name; a shard alone has none twice."""
  hashes = [np.array(_note(job).ids, np.uint64) for job in jobs()]
  owners = np.repeat(np.arange(len(hashes)), [len(ids) for ids in hashes])
  places = np.concatenate([np.arange(len(ids)) for ids in hashes])
  every = np.concatenate(hashes)
  order = np.argsort(every, kind="stable")
  again = order[1:][every[order][1:] == every[order][:-1]]
  if not len(again):
    return
  for number, job in enumerate(jobs()):
    mine = again[owners[again] == number]
    if len(mine):
      drop_records(job, _note(job), set(places[mine].tolist()))
