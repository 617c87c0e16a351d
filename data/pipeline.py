"""Runs jobs as an Apache Beam pipeline: on a cluster, or here to try it.

TFDS can prepare with Beam too, but sends every picture through a shuffle to
order it by a hash and has no place for counts. Here a shard is the element: the
same function writes it as in a local run, so that the bytes and the report are
the same. All machines must see source and output: `gs://` or a shared disk.
"""

import os
import pickle
from collections.abc import Callable, Iterable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from data.pool import keep_pages
from data.shard import Job, write_shard


def run_jobs(
  jobs: Iterable[Job],
  runner: str,
  arguments: Sequence[str],
  advance: Callable[[int], None],
) -> None:
  """Writes every shard.

  Args:
    jobs: In any order.
    runner: Name of a Beam runner, such as DirectRunner.
    arguments: Further options of the pipeline, as Beam reads them.
    advance: Called with the number of items, when all are done.
  """
  paths, items = [], 0
  for job in jobs:
    # A pipeline's own description has to stay small: jobs travel as files.
    path = job.note.parent / f"{job.path.name}.job"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(job))
    paths.append(os.fspath(path))
    items += len(job.items)
  options = PipelineOptions([f"--runner={runner}", *arguments])
  with beam.Pipeline(options=options) as pipeline:
    _ = (
      pipeline
      | "shards" >> beam.Create(paths)
      | "spread" >> beam.Reshuffle()
      | "write" >> beam.Map(_work)
    )
  advance(items)


def _work(path: str) -> None:
  keep_pages()
  write_shard(pickle.loads(epath.Path(path).read_bytes()))
