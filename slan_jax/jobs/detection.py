"""Detection by prompt for `slan-train` and `slan-eval`."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from slan_jax.evaluation import detection as evaluation
from slan_jax.evaluation.box_ap import (
  PROTOCOL,
  BoxReport,
  box_ap,
  coco_truth,
)
from slan_jax.evaluation.cases import Case, save_cases
from slan_jax.evaluation.detection_cases import Finds, picture_score, surest
from slan_jax.evaluation.report import with_skipped
from slan_jax.evaluation.result_file import detection_rows, write_detections
from slan_jax.evaluation.task_report import Curve, save_curves
from slan_jax.input.classes import Classes, chosen_classes, read_classes
from slan_jax.input.detection import (
  DetectionSplit,
  ObjectMaker,
  detection_split,
)
from slan_jax.input.maker import MakeMaker
from slan_jax.input.prompt import Prompts, Style, make_prompts
from slan_jax.input.text import TextEncoder, load_encoder
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.tasks import detection
from slan_jax.tasks.task import Task

RESULTS = "detections.json"  # as COCO's server takes it
CHANCE_SEED = 0
CURVES = 24  # classes whose curve is kept, those with the most objects
CHANCE = "Chance: the same boxes with random scores and classes."
SECRET = "No picture of this split has an annotated object: no metrics."


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
  """Average precision of boxes; leaves the result file of COCO's server.

  A split whose objects are secret has no metrics.
  """
  experiment = setting.experiment
  classes, prompts = _classes(experiment), _prompts(experiment)
  split = detection_split(*setting.source, classes=classes, limit=setting.limit)
  truth = coco_truth(
    split.image_ids, split.sizes, split.objects, classes.names, classes.ids
  )

  known = bool(truth["annotations"])
  prompted = f"Prompts: {len(prompts.texts)}."
  asked = [PROTOCOL, CHANCE] if known else [SECRET]
  if experiment.detection.classes and known:
    asked.insert(
      1,
      f"Only the {len(classes.names)} classes of detection.classes were asked "
      "for, and the truth was restricted to them: "
      f"{split.skipped['unknown class']} objects of others were left out.",
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
    keep = output is not None and jax.process_index() == 0
    if keep:
      write_detections(output / RESULTS, results)
    metrics, chance = {}, {}
    if known:
      scored = box_ap(truth, results)
      guess = box_ap(truth, rows(evaluation.shuffled(found, seed=CHANCE_SEED)))
      metrics, chance = scored.named, guess.named
      if keep:
        save_curves(output, _curves(scored))
        _save_cases(output, split, found)
    outcome = {
      "task": "detection",
      "protocol": " ".join([*asked, prompted]),
      "score": "ap",
      "samples": {
        "images": len(split.ids),
        "objects": len(truth["annotations"]),
        "classes": len(classes.names),
      },
      "metrics": metrics,
      "chance": chance,
    }
    return with_skipped(outcome, split.skipped)

  return score


def _curves(scored: BoxReport) -> list[Curve]:
  """Of all classes at two thresholds, and of the largest classes."""
  found = scored.curves
  largest = sorted(scored.classes, key=lambda n: -scored.classes[n].objects)
  named = {
    "all classes, IoU .5": found.mean50,
    "all classes, IoU .75": found.mean75,
  } | {name: found.classes50[name] for name in largest[:CURVES]}
  return [Curve(n, found.recall / 100, y / 100) for n, y in named.items()]


def _save_cases(
  output: Path, split: DetectionSplit, found: evaluation.Detections
) -> None:
  """Pictures with objects; those without one have nothing to be found."""
  there = [n for n, held in enumerate(split.objects) if len(held.labels)]
  truths = [Finds(*split.objects[number][:2]) for number in there]
  finds = [Finds(found.boxes[n], found.labels[n]) for n in there]
  scores = [picture_score(*pair) for pair in zip(finds, truths)]

  def case(row: int) -> Case:
    names, truth = split.classes.names, truths[row]
    first = surest(finds[row], truth)
    labels, true = ([names[n] for n in x.labels] for x in (first, truth))
    return Case(
      images=split.images[np.array([there[row]])],
      text=", ".join(dict.fromkeys([*true, *labels])),
      lines=[],
      score=scores[row],
      boxes=first.boxes,
      labels=labels,
      truth=truth.boxes,
      truth_labels=true,
    )

  save_cases(output, scores, case)


def _classes(experiment: Experiment) -> Classes:
  """The configured names, else the classes of the data."""
  data = experiment.data
  names = tuple(experiment.detection.classes)
  return _classes_of(names, data.dir, data.train_split)


@functools.lru_cache(maxsize=4)  # reading all labels takes seconds
def _classes_of(names: tuple[str, ...], directory: str, split: str) -> Classes:
  if names:
    return chosen_classes(names, directory, split)
  return read_classes(directory, split)


def _prompts(experiment: Experiment) -> Prompts:
  options, text = experiment.detection, experiment.model.text
  length = min(options.max_length, text.max_positions)
  encoder = load_encoder(experiment.text.tokenizer, length, experiment.data.dir)
  style = Style(options.opening, options.separator, options.prompt_classes)
  return make_prompts(_classes(experiment).names, encoder, style)
