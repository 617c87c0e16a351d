"""Input pipelines side by side: ours, torch DataLoader, webdataset, Grain.

  python -m benchmarks.input --source DIR --output FILE.json

DIR holds JPEGs anywhere below it, such as photographs of COCO. All pipelines
decode, crop, augment as BLIP and batch the same photographs, on one core and
on two. Rounds are interleaved, so that other work on the machine touches all
of them; processor time counts their worker processes too.

  --memory-samples N   takes N samples from ours and watches the memory
  --records N          opens, shuffles and resumes N small synthetic records
"""

import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import psutil
import torch

from benchmarks import timing
from benchmarks.pipelines import PIPELINES, ours, write_tars
from benchmarks.random_access import measure_random_access
from benchmarks.shards import serialise, write_records

BATCH = 32
LEAST = 1000  # pictures of an epoch, by repeating those there are
WARM_UP = 2  # batches per worker that are taken before the clock starts


def main() -> None:
  timing.keep_pages()
  parser = timing.make_parser(__doc__.splitlines()[0])
  parser.add_argument("--source", type=Path, required=True)
  parser.add_argument("--batches", type=int, default=24, help="timed per round")
  parser.add_argument("--memory-samples", type=int, default=0)
  parser.add_argument("--records", type=int, default=0)
  arguments = timing.parse(parser)
  pictures = [p.read_bytes() for p in sorted(arguments.source.rglob("*.jpg"))]
  if not pictures:
    parser.error(f"--source {arguments.source} holds no .jpg")
  if arguments.batches < 1:
    parser.error("--batches must be at least 1")
  machine = timing.describe_machine()
  cv2.setNumThreads(1)
  torch.set_num_threads(1)
  rows, ratios = [], {}
  with tempfile.TemporaryDirectory() as folder:
    place = Path(folder)
    write_photographs(place, pictures * -(-LEAST // len(pictures)))
    available = sorted(os.sched_getaffinity(0))
    for cores in (1, 2)[: len(available)]:
      os.sched_setaffinity(0, available[:cores])
      speeds = measure_speeds(
        place, cores, arguments.repeats, arguments.batches
      )
      rows += speeds
      ratios |= compare(speeds, cores)
    os.sched_setaffinity(0, available)
    if arguments.memory_samples:
      rows.append(measure_memory(place, arguments.memory_samples))
    if arguments.records:
      rows += measure_random_access(place / "many", arguments.records)
  timing.write_report(
    arguments.output,
    machine=machine,
    versions=timing.read_versions(
      "slan_jax", "grain", "torch", "webdataset", "pillow", "simplejpeg"
    ),
    rows=rows,
    ratios=ratios,
  )


def write_photographs(place: Path, pictures: list[bytes]) -> None:
  """The same pictures as records, as files and as tar shards."""
  write_records(place / "prepared", serialise(pictures))
  (place / "files").mkdir()
  for number, data in enumerate(pictures):
    (place / "files" / f"{number:06}.jpg").write_bytes(data)
  write_tars(place, pictures)


def measure_speeds(
  place: Path, cores: int, rounds: int, batches: int
) -> list[dict]:
  """A row per pipeline: medians over interleaved rounds."""
  found = {name: [] for name in PIPELINES}
  for _ in range(rounds):
    for name, pipeline in PIPELINES.items():
      found[name].append(time_pipeline(pipeline, place, cores, batches))
  return [
    {
      "name": f"{name}, cores {cores}",
      "images_per_second": round(statistics.median(w for w, _ in times), 1),
      "images_per_cpu_second": round(statistics.median(c for _, c in times), 1),
      "rounds": rounds,
    }
    for name, times in found.items()
  ]


def time_pipeline(pipeline, place, cores, batches) -> tuple[float, float]:
  """Images per second of wall time, and of processor time."""
  stream = pipeline(place, BATCH, cores)
  for _ in itertools.islice(stream, WARM_UP * cores):
    pass
  wall, processor = time.perf_counter(), processor_seconds()
  for _ in itertools.islice(stream, batches):
    pass
  wall, processor = time.perf_counter() - wall, processor_seconds() - processor
  if hasattr(stream, "close"):
    stream.close()
  return batches * BATCH / wall, batches * BATCH / processor


def processor_seconds() -> float:
  """Processor time of this process and of those that work for it."""
  process = psutil.Process()
  times = [p.cpu_times() for p in [process, *process.children(recursive=True)]]
  return sum(t.user + t.system for t in times)


def compare(rows: list[dict], cores: int) -> dict[str, float]:
  """Ours over each peer, in wall and in processor time."""
  first, *peers = rows
  return {
    f"{peer['name']}, {unit}": first[unit] / peer[unit]
    for peer in peers
    for unit in ("images_per_second", "images_per_cpu_second")
  }


def measure_memory(place: Path, samples: int) -> dict:
  """Memory of this process while ours yields samples."""
  loader = ours(place, BATCH, 2)
  steps, marks = samples // BATCH, []
  for step in range(steps):
    next(loader)
    if step % max(steps // 10, 1) == 0:
      marks.append(psutil.Process().memory_info().rss / 2**20)
  loader.close()
  # The first mark is taken before all buffers are full.
  return {
    "name": f"memory over {steps * BATCH} samples",
    "start_mib": round(marks[1]),
    "most_mib": round(max(marks)),
    "end_mib": round(marks[-1]),
  }


if __name__ == "__main__":
  main()
