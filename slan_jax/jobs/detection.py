"""Detection by prompt for `slan-train` and `slan-eval`."""

import functools
from pathlib import Path
from typing import Any

import jax

from slan_jax.evaluation import detection as evaluation
from slan_jax.evaluation.box_ap import PROTOCOL, box_ap, coco_truth
from slan_jax.evaluation.result_file import detection_rows, write_detections
from slan_jax.input.classes import Classes, read_classes
from slan_jax.input.detection import ObjectMaker, detection_split
from slan_jax.input.maker import MakeMaker
from slan_jax.input.prompt import Prompts, Style, make_prompts
from slan_jax.input.text import TextEncoder, load_encoder
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.tasks import detection
from slan_jax.tasks.task import Task

RESULTS = "detections.json"  # as COCO's server takes it
CHANCE_SEED = 0
CHANCE = "Chance: the same boxes with random scores and classes."


def make(experiment: Experiment, encoder: TextEncoder) -> Task:
  """The task of an experiment; see `detection.make_task`."""
  del encoder  # prompts are longer than captions
  options, prompts = experiment.detection, _prompts(experiment)
  return detection.make_task(
    experiment.model,
    experiment.localisation,
    detection.Prompts(
      prompts.ids, prompts.mask, prompts.class_tokens, prompts.classes
    ),
    batch_size=experiment.batch_size,
    microbatches=experiment.microbatches,
    boxes=options.boxes,
    nms=options.nms,
  )


def maker(experiment: Experiment) -> MakeMaker:
  """Makes rows of pictures with objects."""
  return functools.partial(
    ObjectMaker,
    boxes=experiment.detection.boxes,
    classes=_classes(experiment),
  )


def open_scorer(setting: Setting) -> Score:
  """Average precision of boxes; leaves the result file of COCO's server."""
  experiment = setting.experiment
  classes, prompts = _classes(experiment), _prompts(experiment)
  split = detection_split(*setting.source, classes=classes, limit=setting.limit)
  truth = coco_truth(
    split.image_ids, split.sizes, split.objects, classes.names, classes.ids
  )

  def rows(found: evaluation.Detections) -> list[dict[str, Any]]:
    return detection_rows(
      split.image_ids, split.sizes, *found, category_ids=classes.ids
    )

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    found = evaluation.detect_objects(
      setting.task.predict,
      params,
      split.images,
      len(split.ids),
      prompts,
      most=experiment.detection.most,
      batching=setting.batching,
    )
    results = rows(found)
    if output is not None and jax.process_index() == 0:
      write_detections(output / RESULTS, results)
    scored = box_ap(truth, results)
    by_class = {
      f"ap50_{name}": of_class.ap50 for name, of_class in scored.classes.items()
    }
    guess = box_ap(truth, rows(evaluation.shuffled(found, seed=CHANCE_SEED)))
    return {
      "task": "detection",
      "protocol": f"{PROTOCOL} {CHANCE} Prompts: {len(prompts.texts)}.",
      "score": "ap",
      "samples": {
        "images": len(split.ids),
        "objects": len(truth["annotations"]),
        "classes": len(classes.names),
      },
      "metrics": scored.metrics | by_class,
      "chance": guess.metrics,
    }

  return score


def _classes(experiment: Experiment) -> Classes:
  """The configured names, else the classes of the data."""
  names, data = experiment.detection.classes, experiment.data
  if names:
    return Classes(names, tuple(range(1, len(names) + 1)))
  return _classes_of(data.dir, data.train_split)


@functools.lru_cache(maxsize=4)  # reading all labels takes seconds
def _classes_of(directory: str, split: str) -> Classes:
  return read_classes(directory, split)


def _prompts(experiment: Experiment) -> Prompts:
  options, text = experiment.detection, experiment.model.text
  length = min(options.max_length, text.max_positions)
  encoder = load_encoder(experiment.text.tokenizer, length, experiment.data.dir)
  style = Style(options.opening, options.separator, options.prompt_classes)
  return make_prompts(_classes(experiment).names, encoder, style)
