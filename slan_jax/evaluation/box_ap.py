"""Object detection: COCO's average precision, by pycocotools.

Axis letters: I images, C classes, D detections, O true objects. Rates are in
percent. Boxes of result files are x, y, width, height in pixels, those of our
arrays xyxy in [0,1] of the image.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

PROTOCOL = (
  "COCO's average precision by pycocotools: IoU 0.50 to 0.95, 101 points of "
  "recall, at most 100 boxes an image and class; crowds neither count nor "
  "cost."
)
# Of COCOeval.stats, in its order; a size that no object has is left out.
_STATS = (
  "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10",
  "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
_IOU50, _IOU75, _ALL, _MOST = 0, 5, 0, 2  # places in COCOeval's arrays


class ClassScore(NamedTuple):
  """Scores of one class in percent, and how many objects it has."""

  ap: float
  ap50: float
  objects: int


class Curves(NamedTuple):
  """Precision at given recalls, both in percent.

  Attributes:
    recall: [101].
    mean50: [101], mean over classes at IoU 0.5.
    mean75: [101], the same at IoU 0.75.
    classes50: Of each class, [101] at IoU 0.5.
  """

  recall: np.ndarray
  mean50: np.ndarray
  mean75: np.ndarray
  classes50: dict[str, np.ndarray]


class BoxReport(NamedTuple):
  """What `box_ap` finds.

  Attributes:
    metrics: `ap`, `ap50`, `ap75`, `ap_small` ..., `ar1` ..., percent.
    classes: Scores of each class that has an object, by name.
    curves: Precision over recall.
  """

  metrics: dict[str, float]
  classes: dict[str, ClassScore]
  curves: Curves

  @property
  def named(self) -> dict[str, float]:
    """The metrics, and `ap50_CLASS` of each class that has an object."""
    own = {f"ap50_{name}": found.ap50 for name, found in self.classes.items()}
    return self.metrics | own


def coco_truth(
  image_ids: Sequence[int],
  sizes: np.ndarray,
  objects: Sequence[Any],
  names: Sequence[str],
  category_ids: Sequence[int],
) -> dict[str, Any]:
  """Our annotations as an official ground truth.

  Whether an object is small or large goes by the area of its outline, as in
  COCO, where the data has it, else by that of its box.

  Args:
    image_ids: [I] number of each picture.
    sizes: [I,2] width and height in pixels.
    objects: Of each picture: boxes [O,4] xyxy in [0,1], labels [O] rows of the
      classes, crowd [O], areas [O] in pixels, 0 = not known.
    names: [C] of the classes.
    category_ids: [C] their numbers.

  Returns:
    COCO's `images`, `categories` and `annotations`.
  """
  annotations = []
  for number, size, held in zip(image_ids, sizes, objects):
    for box, label, crowd, area in zip(
      held.boxes, held.labels, held.crowd, held.areas
    ):
      x, y, width, height = pixel_box(box, size)
      annotations.append(
        {
          "id": len(annotations) + 1,
          "image_id": int(number),
          "category_id": int(category_ids[label]),
          "bbox": [x, y, width, height],
          "area": float(area) or width * height,
          "iscrowd": int(crowd),
        }
      )
  return {
    "images": [
      {"id": int(n), "width": int(w), "height": int(h)}
      for n, (w, h) in zip(image_ids, sizes)
    ],
    "categories": [
      {"id": int(n), "name": name} for n, name in zip(category_ids, names)
    ],
    "annotations": annotations,
  }


def pixel_box(box: np.ndarray, size: Sequence[int]) -> list[float]:
  """x, y, width, height in pixels of a box xyxy in [0,1] of the image."""
  scale = np.tile(np.asarray(size, np.float64), 2)
  x1, y1, x2, y2 = (np.asarray(box, np.float64) * scale).tolist()
  return [x1, y1, x2 - x1, y2 - y1]


def box_ap(
  truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> BoxReport:
  """Scores detections against a ground truth, both in COCO's format.

  Args:
    truth: `images`, `categories`, `annotations`.
    results: Rows of image_id, category_id, bbox in pixels and score; of
      `result_file.read_detections`. None at all scores 0.

  Returns:
    The report.

  Raises:
    ValueError: Nothing is annotated, or a result names an image or a category
      that is not in the ground truth, or holds numbers that are not finite.
  """
  if not truth["annotations"]:
    raise ValueError(
      "detection: the ground truth has no object, so nothing can be scored; "
      "that of a test split is known to the server alone: submit the file"
    )
  check_detections(truth, results)
  with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
    evaluation = COCOeval(*_indexed(truth, results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  # [IoU, recall, class, area, most], -1 where a class has no object.
  precision = evaluation.eval["precision"][..., _ALL, _MOST]
  categories = {row["id"]: row["name"] for row in truth["categories"]}
  names = [categories[number] for number in evaluation.params.catIds]
  metrics = {
    name: 100 * float(value)
    for name, value in zip(_STATS, evaluation.stats)
    if value > -1
  }
  return BoxReport(
    metrics,
    _class_scores(truth, precision, names),
    _curves(100 * evaluation.params.recThrs, precision, names),
  )


def check_detections(
  truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> None:
  """Refuses results that do not belong to a ground truth.

  Raises:
    ValueError: Names the row, and what is wrong with it.
  """
  images = {row["id"] for row in truth["images"]}
  categories = {row["id"] for row in truth["categories"]}
  for place, row in enumerate(results):
    where = f"detection: result {place}"
    if row["image_id"] not in images:
      raise ValueError(
        f"{where} is about image {row['image_id']}, which is not in the ground "
        f"truth of {len(images)} images; are they of the same split?"
      )
    if row["category_id"] not in categories:
      raise ValueError(
        f"{where} names category {row['category_id']}, which is not in the "
        "ground truth; result files hold COCO's numbers, which have gaps"
      )
    if not np.isfinite([*row["bbox"], row["score"]]).all():
      raise ValueError(
        f"{where} holds numbers that are not finite ({row}); the model has "
        "diverged"
      )


def _indexed(
  truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> tuple[COCO, COCO]:
  """Truth and results as pycocotools holds them, copied: it adds keys."""
  rows = [
    {
      **row,
      "id": place + 1,
      "area": row["bbox"][2] * row["bbox"][3],
      "iscrowd": 0,
    }
    for place, row in enumerate(results)
  ]
  true = [dict(row) for row in truth["annotations"]]
  made = []
  for annotations in (true, rows):
    coco = COCO()
    coco.dataset = {**truth, "annotations": annotations}
    coco.createIndex()
    made.append(coco)
  return made[0], made[1]


def _class_scores(
  truth: Mapping[str, Any], precision: np.ndarray, names: Sequence[str]
) -> dict[str, ClassScore]:
  categories = {row["id"]: row["name"] for row in truth["categories"]}
  counts = dict.fromkeys(names, 0)
  for row in truth["annotations"]:
    counts[categories[row["category_id"]]] += not row.get("iscrowd", 0)
  return {
    name: ClassScore(
      100 * float(own[own > -1].mean()),
      100 * float(own[_IOU50].mean()),
      counts[name],
    )
    for name, own in zip(names, np.moveaxis(precision, 2, 0))
    if (own > -1).any()
  }


def _curves(
  recall: np.ndarray, precision: np.ndarray, names: Sequence[str]
) -> Curves:
  present = (precision > -1).any(axis=(0, 1))
  rates = 100 * precision[:, :, present]
  kept = [name for name, there in zip(names, present) if there]
  return Curves(
    recall=recall,
    mean50=rates[_IOU50].mean(axis=-1),
    mean75=rates[_IOU75].mean(axis=-1),
    classes50=dict(zip(kept, rates[_IOU50].T)),
  )
