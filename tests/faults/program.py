"""slan-train and slan-eval as users start them, but on the light task.

`python -m tests.faults.program train|evaluate FLAGS...`. $SEEN names a folder
where each process notes the examples of every batch that it takes; $PACE makes
a batch take that many seconds. $MORE, a JSON object, names further tasks that
are scored beside the asked one, each with its data.
"""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path

import jax

from slan_jax.evaluation import caption_scores, caption_words
from slan_jax.input.loader import Loader
from slan_jax.jobs import catalog, evaluate, train
from tests.jobs.light import light_task

ADVANCE, EVALUATE = Loader.__next__, evaluate.evaluate


def noting(loader: Loader):
  """The next batch; what is in it is written down."""
  time.sleep(float(os.environ.get("PACE", "0")))
  batch = ADVANCE(loader)
  ids = {name: batch[name].tolist() for name in ("index", "image_id")}
  path = Path(os.environ["SEEN"], f"{jax.process_index()}.jsonl")
  with path.open("a") as file:
    file.write(json.dumps(ids) + "\n")
  return batch


def scoring_more(experiment, checkpoints, request, output, mesh=None):
  """Scores what is asked, and the tasks of $MORE beside it."""
  for task, data in json.loads(os.environ.get("MORE", "{}")).items():
    asked = dataclasses.replace(request, task=task, data=data)
    EVALUATE(experiment, checkpoints, asked, output.parent / task, mesh)
  return EVALUATE(experiment, checkpoints, request, output, mesh)


def light_entries() -> dict[str, catalog.Entry]:
  """The catalog on the light task, which every run of it can be scored on."""
  return {
    task: catalog.CATALOG[task]._replace(make=light_task, any_run=True)
    for task in catalog.SCORED
  }


def without_java() -> None:
  """Scores captions without Java programs: they take seconds to start."""
  for module in (caption_scores, caption_words):
    module.java_path = lambda: None


def main() -> None:
  """Runs a job with the rest of the arguments."""
  job = {"train": train, "evaluate": evaluate}[sys.argv.pop(1)]
  job.make_task = light_task
  catalog.CATALOG.update(light_entries())
  evaluate.evaluate = scoring_more
  without_java()
  if "SEEN" in os.environ:
    Loader.__next__ = noting
  job.main()


if __name__ == "__main__":
  main()
