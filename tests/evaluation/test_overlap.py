"""IoU against COCO's own code, and the containment rule."""

import numpy as np
from pycocotools import mask

from slan_jax.evaluation import overlap


def test_iou_equals_pycocotools():
  generator = np.random.default_rng(0)
  corners = np.sort(generator.uniform(0, 1, (2, 12, 2, 2)), axis=2)
  boxes, truth = corners.reshape(2, 12, 4)
  xywh = [
    np.concatenate([x[:, :2], x[:, 2:] - x[:, :2]], 1) for x in (boxes, truth)
  ]
  expected = mask.iou(*xywh, [0] * 12)
  np.testing.assert_allclose(
    overlap.box_iou(boxes, truth), expected, atol=1e-12
  )


def test_iou_by_hand_and_without_area():
  boxes = np.array([[0, 0, 0.5, 0.5], [0.2, 0.2, 0.2, 0.2]])
  truth = np.array([[0, 0, 0.5, 1.0], [0.2, 0.2, 0.2, 0.2]])
  np.testing.assert_array_equal(
    overlap.box_iou(boxes, truth), [[0.5, 0], [0, 0]]
  )


def test_centre_inside_any_box():
  truth = np.array([[0, 0, 0.2, 0.2], [0.5, 0.5, 1, 1]])
  boxes = np.array(
    [[0, 0, 0.4, 0.4], [0.2, 0.2, 0.5, 0.5], [0.4, 0.4, 0.6, 0.6]]
  )
  np.testing.assert_array_equal(
    overlap.centre_inside(boxes, truth), [True, False, True]
  )


def test_enclosing():
  truth = np.array([[0.1, 0.5, 0.2, 0.6], [0.4, 0.2, 0.6, 0.3]])
  np.testing.assert_array_equal(
    overlap.enclosing(truth), [[0.1, 0.2, 0.6, 0.6]]
  )
