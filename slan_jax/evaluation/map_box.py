"""The bare similarity map as a baseline: its box and its maximum.

What grounding is worth without detector, filter and adaptor.
"""

import cv2
import numpy as np

from slan_jax.evaluation.overlap import (
  IOU,
  LOOSE_IOU,
  box_iou,
  centre_inside,
)

# The box holds the cells above this part of the way from the map's median to
# its maximum. Fixed before any score was seen, never tuned.
MAP_FRACTION = 0.5


def map_box(similarity: np.ndarray) -> np.ndarray:
  """Box of a similarity map: the connected part around its maximum.

  Cells above median + MAP_FRACTION * (maximum - median) are kept, and of these
  the component (8 neighbours) that holds the first maximum.

  Args:
    similarity: [h,w].

  Returns:
    float64 [4], xyxy in [0,1], along cell borders.
  """
  height, width = similarity.shape
  middle = np.median(similarity)
  threshold = middle + MAP_FRACTION * (similarity.max() - middle)
  kept = (similarity >= threshold).astype(np.uint8)
  _, labels = cv2.connectedComponents(kept, connectivity=8)
  label = labels[np.unravel_index(similarity.argmax(), similarity.shape)]
  rows, columns = np.nonzero(labels == label)
  return np.array(
    [
      columns.min() / width,
      rows.min() / height,
      (columns.max() + 1) / width,
      (rows.max() + 1) / height,
    ]
  )


def map_points(similarity: np.ndarray) -> np.ndarray:
  """Centres of the cells of a map's maximum, as boxes without extent.

  Args:
    similarity: [h,w].

  Returns:
    float64 [C,4], xyxy in [0,1]; C > 1 where cells tie.
  """
  height, width = similarity.shape
  y, x = np.nonzero(similarity == similarity.max())
  point = np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=-1)
  return np.concatenate([point, point], axis=-1)


def score_map(similarity: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  """Scores the bare similarity map, without any region.

  Args:
    similarity: [h,w] of one phrase.
    truth: [M,4] xyxy.

  Returns:
    `map_r1`, `map_r1_iou30`, `map_mean_iou` (its box) and `map_pointing` (its
    maximum), each in 0..1.
  """
  inside = centre_inside(map_points(similarity), truth)
  overlap = box_iou(map_box(similarity), truth).max()
  return {
    "map_r1": float(overlap >= IOU),
    "map_r1_iou30": float(overlap >= LOOSE_IOU),
    "map_mean_iou": float(overlap),
    "map_pointing": float(inside.all()),
  }
