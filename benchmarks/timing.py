"""What every benchmark shares: fair timing, the machine, the report file."""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path


def make_parser(description: str) -> argparse.ArgumentParser:
  """Command line of a benchmark: --output FILE.json and --repeats N."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument("--output", type=Path, required=True, help="JSON file")
  parser.add_argument("--repeats", type=int, default=15, help="timed rounds")
  return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
  """Reads the command line of a parser from `make_parser`."""
  arguments = parser.parse_args()
  if arguments.repeats < 1:
    parser.error("--repeats must be at least 1")
  return arguments


def keep_pages() -> None:
  """Starts this process anew with malloc set to keep freed pages.

  All contenders then reuse memory between calls, as inside a training run,
  in place of asking the system for it anew; `make pretrain` does the same.
  """
  wanted = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
  }
  if any(os.environ.get(name) != value for name, value in wanted.items()):
    os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})


def time_interleaved(
  contenders: dict[str, Callable[[], object]],
  *,
  repeats: int,
  rest: float = 0.05,
) -> dict[str, dict[str, float]]:
  """Times all contenders in turn, round after round.

  Drift of a shared machine then touches all of them alike.

  Args:
    contenders: name -> function that returns when its result is ready.
    repeats: timed rounds, after one that warms up.
    rest: seconds between calls, in which the last one's threads settle.

  Returns:
    name -> {"median_ms", "min_ms"}.
  """
  times: dict[str, list[float]] = {name: [] for name in contenders}
  for call in contenders.values():
    call()
  for _ in range(repeats):
    for name, call in contenders.items():
      time.sleep(rest)
      start = time.perf_counter()
      call()
      times[name].append(1e3 * (time.perf_counter() - start))
  return {
    name: {
      "median_ms": round(statistics.median(values), 3),
      "min_ms": round(min(values), 3),
    }
    for name, values in times.items()
  }


def describe_machine() -> dict[str, object]:
  """Processor, cores and load of this machine; no names."""
  model = platform.processor() or platform.machine()
  cpuinfo = Path("/proc/cpuinfo")
  if cpuinfo.exists():
    lines = cpuinfo.read_text().splitlines()
    names = [x.split(":", 1)[1].strip() for x in lines if "model name" in x]
    model = names[0] if names else model
  return {
    "cpu": model,
    "cores": len(os.sched_getaffinity(0)),
    "load_before": round(os.getloadavg()[0], 2),
    "system": f"{platform.system()} {platform.machine()}",
  }


def read_versions(*packages: str) -> dict[str, str]:
  """Versions of Python and of installed packages."""
  versions = {name: importlib.metadata.version(name) for name in packages}
  return {"python": platform.python_version()} | versions


def write_report(
  path: Path,
  *,
  machine: dict,
  versions: dict[str, str],
  rows: list[dict],
  ratios: dict[str, float],
) -> None:
  """Prints the rows and ratios, and writes the report as JSON.

  Args:
    path: file to write; its folder is made.
    machine: from `describe_machine`, taken before the timing.
    versions: from `read_versions`.
    rows: one per measurement.
    ratios: ours against a named peer, > 1 = we are ahead.
  """
  for row in rows:
    print("  ".join(f"{key} {value}" for key, value in row.items()))
  for name, ratio in ratios.items():
    print(f"{name}: {ratio:.2f}")
  report = {
    "machine": machine,
    "versions": versions,
    "rows": rows,
    "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
