"""Overlap of boxes: xyxy in [0,1] of the image, M true boxes."""

import numpy as np

IOU = 0.5  # from here on a box hits (PASCAL's and Flickr30k Entities' rule)
LOOSE_IOU = 0.3


def box_iou(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Intersection over union of every box with every true box.

  Args:
    boxes: [...,4] xyxy.
    truth: [M,4] xyxy.

  Returns:
    float64 [...,M]; 0 for a pair without area.
  """
  a = np.asarray(boxes, np.float64)[..., None, :]
  b = np.asarray(truth, np.float64)
  sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(
    a[..., :2], b[..., :2]
  )
  inner = np.clip(sides, 0, None).prod(axis=-1)
  areas = [np.clip(x[..., 2:] - x[..., :2], 0, None).prod(-1) for x in (a, b)]
  outer = areas[0] + areas[1] - inner
  return np.divide(inner, outer, out=np.zeros_like(inner), where=outer > 0)


def centre_inside(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Whether the centre of each box lies in any true box, edges included.

  Args:
    boxes: [...,4] xyxy.
    truth: [M,4] xyxy.

  Returns:
    bool [...].
  """
  centre = (boxes[..., None, :2] + boxes[..., None, 2:]) / 2
  inside = (centre >= truth[:, :2]) & (centre <= truth[:, 2:])
  return inside.all(axis=-1).any(axis=-1)


def enclosing(truth: np.ndarray) -> np.ndarray:
  """The box that encloses all true boxes: [M,4] -> [1,4]."""
  return np.concatenate([truth[:, :2].min(0), truth[:, 2:].max(0)])[None]
