"""Best and worst cases of detection: the surest boxes beside the true ones.

Axis letters: D boxes that were found, O true objects.
"""

from typing import NamedTuple

import numpy as np

from slan_jax.evaluation.overlap import IOU, box_iou


class Finds(NamedTuple):
  """Boxes of one picture with their classes.

  Attributes:
    boxes: [n,4] xyxy in [0,1].
    labels: int [n], numbers of classes.
  """

  boxes: np.ndarray
  labels: np.ndarray


def surest(found: Finds, truth: Finds) -> Finds:
  """As many of the boxes as there are objects.

  Args:
    found: [D], the surest first; label -1 = none left.
    truth: [O].
  """
  kept = np.flatnonzero(found.labels >= 0)[: len(truth.labels)]
  return Finds(found.boxes[kept], found.labels[kept])


def picture_score(found: Finds, truth: Finds) -> float:
  """How well the surest boxes of a picture fit its objects.

  Each box takes the object of its class that it overlaps most, from IoU 0.5
  on, and that no surer box took. No confidence has to be chosen: only as many
  boxes count as there are objects.

  Args:
    found: [D], the surest first; label -1 = none left.
    truth: [O], at least one.

  Returns:
    Mean over the objects of the IoU of the box that took them, 0 for none.
  """
  first, free = surest(found, truth), np.ones(len(truth.labels), bool)
  overlap = box_iou(first.boxes, truth.boxes)
  total = 0.0
  for label, own in zip(first.labels, overlap):
    fits = np.where(free & (truth.labels == label) & (own >= IOU), own, 0)
    best = int(fits.argmax())
    total += float(fits[best])
    free[best] &= not fits[best]
  return total / len(truth.labels)
