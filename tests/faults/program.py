"""slan-train and slan-eval as users start them, but on the light task.

`python -m tests.faults.program train|evaluate FLAGS...`. $SEEN names a folder
where each process notes the examples of every batch that it takes; $PACE makes
a batch take that many seconds.
"""

import json
import os
import sys
import time
from pathlib import Path

import jax

from slan_jax.input.loader import Loader
from slan_jax.jobs import catalog, evaluate, train
from tests.jobs.light import light_task

ADVANCE = Loader.__next__


def noting(loader: Loader):
  """The next batch; what is in it is written down."""
  time.sleep(float(os.environ.get("PACE", "0")))
  batch = ADVANCE(loader)
  ids = {name: batch[name].tolist() for name in ("index", "image_id")}
  path = Path(os.environ["SEEN"], f"{jax.process_index()}.jsonl")
  with path.open("a") as file:
    file.write(json.dumps(ids) + "\n")
  return batch


def main() -> None:
  """Runs a job with the rest of the arguments."""
  job = {"train": train, "evaluate": evaluate}[sys.argv.pop(1)]
  job.make_task = light_task
  for task in catalog.SCORED:
    catalog.CATALOG[task] = catalog.CATALOG[task]._replace(make=light_task)
  if "SEEN" in os.environ:
    Loader.__next__ = noting
  job.main()


if __name__ == "__main__":
  main()
