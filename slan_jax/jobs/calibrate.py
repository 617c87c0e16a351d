"""`slan-calibrate --workdir DIR`: probabilities that keep their word.

Fits ITM's log odds on the validation split and leaves calibration.json in the
work directory, which slan-predict reads and slan-export takes along.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.evaluation import calibration
from slan_jax.evaluation.files import write_atomically
from slan_jax.input.gallery import retrieval_split
from slan_jax.interop.export import CALIBRATION
from slan_jax.jobs import common, workdir
from slan_jax.jobs.experiment import evaluation_config
from slan_jax.jobs.predictor import Predictor, Words
from slan_jax.jobs.trained import check_model, open_run


def main() -> None:
  """Console script."""
  common.keep_compiled()
  common.launch_parsed(_parser(), _from_arguments)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "slan-calibrate", description="Fits the probability that pairs match."
  )
  add = parser.add_argument
  add("--workdir", type=Path, required=True, help="home of the run")
  add("--checkpoint", default="last", help="step, or `last`, or `best`")
  add("--ema", action="store_true", help="the averaged parameters")
  add("--split", help="of the run's data; else the run's validation split")
  add("--images", type=int, default=500, help="at most")
  add("--debug", action="store_true", help="show where an error comes from")
  return parser


def _from_arguments(arguments: argparse.Namespace) -> int:
  found = calibrate(
    arguments.workdir,
    checkpoint=arguments.checkpoint,
    ema=arguments.ema,
    split=arguments.split,
    images=arguments.images,
  )
  print(
    f"{arguments.workdir / CALIBRATION}: probability = sigmoid("
    f"{found['slope']:.3f} * log odds {found['intercept']:+.3f}); calibration "
    f"error {found['raw']['ece']:.3f} before, {found['calibrated']['ece']:.3f} "
    f"after, on {found['images'] // 2} other images of {found['split']!r}"
  )
  return 0


def calibrate(
  directory: Path,
  *,
  checkpoint: str = "last",
  ema: bool = False,
  split: str | None = None,
  images: int = 500,
) -> dict[str, Any]:
  """Fits, and writes calibration.json.

  Args:
    directory: home of a run.
    checkpoint: step, "last" or "best".
    ema: the averaged parameters.
    split: of the run's data; None = its validation split.
    images: at most.

  Returns:
    What the file holds; see `evaluation.calibration.calibrate`.

  Raises:
    InputError, ValueError: no run, no such split, too few images.
  """
  experiment = workdir.read(directory)
  split = split or experiment.data.evaluation_split
  run = open_run(directory, checkpoint, "float32", ema)
  check_model(run.trained)
  trained = run.trained._replace(params=run.read(run.trained.params))
  data = experiment.data.dir
  gallery = retrieval_split(
    data, split, evaluation_config(experiment), limit=images, captions="first"
  )
  _, first = np.unique(gallery.text_image, return_index=True)
  words = Words(gallery.tokens[first], gallery.mask[first], [], [])
  batch = experiment.evaluation.batch_size
  predictor = Predictor(trained, batch=batch, progress=sys.stderr.isatty())
  texts = predictor.text_states(words)
  chunks = predictor.chunks(gallery.images, len(first))
  itc = predictor.embeddings(chunks) @ np.asarray(texts.embedding).T
  pairs = calibration.choose_pairs(itc, words.tokens)
  wanted = np.zeros(itc.shape, bool)
  wanted[pairs.image, pairs.text] = True
  odds = predictor.match(chunks, texts, wanted)
  record = {
    **calibration.calibrate(pairs, odds[pairs.image, pairs.text]),
    "data": data,
    "split": split,
    "step": run.step,
    "part": "ema" if ema else "params",
  }
  text = json.dumps(record, indent=2) + "\n"
  write_atomically(Path(directory) / CALIBRATION, text.encode())
  return record


if __name__ == "__main__":
  main()
