"""How soon a large data set is open, shuffled, and resumed anywhere."""

import itertools
import statistics
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pipelines import ours
from benchmarks.shards import serialise, write_records

BATCH = 32
SHARDS = 16


def measure_random_access(place: Path, records: int) -> list[dict]:
  """Writes small records and reads them in global random order.

  Args:
    place: Folder to make.
    records: How many; each is a picture of 16 x 16 px.

  Returns:
    A row: seconds to write; to open and give the first batch; to do so from
    halfway on, and from within the eleventh epoch. Medians of three.
  """
  picture = cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
  began = time.perf_counter()
  (row,) = serialise([picture])
  write_records(
    place / "prepared", itertools.repeat(row, records), shards=SHARDS
  )
  written = time.perf_counter() - began
  steps = records // BATCH
  first = [
    statistics.median(_first_batch(place, position) for _ in range(3))
    for position in (0, steps // 2, 10 * steps + steps // 3)
  ]
  found = {
    "name": f"random access, {records} records",
    "write_seconds": round(written, 1),
    "open_seconds": round(first[0], 2),
    "resume_halfway_seconds": round(first[1], 2),
    "resume_after_ten_epochs_seconds": round(first[2], 2),
  }
  return [found]


def _first_batch(place: Path, position: int) -> float:
  """Seconds from nothing to the first batch at a position."""
  began = time.perf_counter()
  loader = ours(place, BATCH, 1, position=position)
  batch = next(loader)
  seconds = time.perf_counter() - began
  if batch["index"][0] != position * BATCH:
    raise SystemExit(f"resumed at {batch['index'][0]}, not {position * BATCH}")
  loader.close()
  return seconds
