"""Stands for Python in the trials' commands: does in no time what jobs leave.

Every call is noted in the file $STUB_CALLS. $STUB_FAIL names a row whose
training fails; with $STUB_WAIT training waits for a signal and ends as
slan-train does. Scores are 10 + seed, of the row "off" 20 + seed.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path


def main() -> int:
  _, job, *flags = sys.argv[1:]
  options = dict(flag.removeprefix("--").partition("=")[::2] for flag in flags)
  directory = Path(options["workdir"])
  seed = int(directory.name.removeprefix("seed-"))
  row = directory.parent.name
  with open(os.environ["STUB_CALLS"], "a") as calls:
    calls.write(f"{job.split('.')[-1]} {row} {seed}\n")
  if job.endswith("train"):
    return train(directory, options)
  if job.endswith("evaluate"):
    value = (20 if row.endswith("off") else 10) + seed
    return evaluate(Path(options["output"]), options["task"], value)
  page = directory / "pictures" / "index.html"
  page.parent.mkdir()
  page.write_text("<html>")
  return 0


def train(directory: Path, options: dict) -> int:
  steps = int(re.search(r"steps=(\d+)", options["config"])[1])
  if directory.parent.name == os.environ.get("STUB_FAIL"):
    print("out of luck")
    return 1
  if os.environ.get("STUB_WAIT"):
    got = []
    signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    (directory / "ready").touch()
    while not got:
      time.sleep(0.01)
    return 128 + got[0]
  (directory / "checkpoints" / str(steps)).mkdir(parents=True)
  with open(directory / "evaluations.jsonl", "w") as file:
    for step in range(steps + 1):
      record = {"step": step, "r_mean": 3.0 * step, "grounding_r1": 5.0}
      file.write(json.dumps(record) + "\n")
  summary = {"steps": steps, "seconds": 1.0, "skipped": {}, "skipped_steps": 0}
  (directory / "summary.json").write_text(json.dumps(summary))
  return 0


def evaluate(output: Path, task: str, value: float) -> int:
  names = {
    "retrieval": ("sum_i2t_r1", "itc_t2i_r1", "i2t_r5"),
    "grounding": ("grounding_r1", "counterfactual"),
  }
  report = {
    "task": task, "protocol": "", "score": "sum", "checkpoint_step": 4,
    "config_hash": "", "samples": {}, "chance": {}, "untrained": {},
    "metrics": {name: value for name in names[task]},
  }  # fmt: skip
  output.mkdir(parents=True, exist_ok=True)
  (output / "metrics.json").write_text(json.dumps(report))
  return 0


if __name__ == "__main__":
  sys.exit(main())
