"""Scores of single pictures, by hand."""

import numpy as np
import pytest

from slan_jax.evaluation.detection_cases import Finds, picture_score, surest

LEFT, RIGHT = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
NARROW = [0.0, 0.0, 0.4, 1.0]  # IoU .8 with LEFT
SLIM = [0.0, 0.0, 0.2, 1.0]  # IoU .4


def finds(*rows):
  boxes = np.array([box for box, _ in rows]).reshape(-1, 4)
  return Finds(boxes, np.array([label for _, label in rows], int))


@pytest.mark.parametrize(
  "found, score",
  [
    ([(LEFT, 0), (RIGHT, 1)], 1.0),
    ([(NARROW, 0), (RIGHT, 1)], 0.9),
    ([(SLIM, 0), (RIGHT, 1)], 0.5),  # does not fit
    ([(LEFT, 1), (RIGHT, 0)], 0.0),  # of another class
    ([(LEFT, 0), (NARROW, 0)], 0.5),  # an object is taken once
    ([(NARROW, 0), (LEFT, 0)], 0.4),  # by the surer box
    ([(SLIM, 0), (SLIM, 1), (LEFT, 0)], 0.0),  # beyond the second: too late
    ([(LEFT, 0), (LEFT, -1)], 0.5),  # nothing more was found
    ([], 0.0),
  ],
)
def test_as_many_boxes_count_as_there_are_objects(found, score):
  truth = finds((LEFT, 0), (RIGHT, 1))
  assert picture_score(finds(*found), truth) == pytest.approx(score)
  kept = surest(finds(*found), truth)
  assert len(kept.labels) <= 2 and (kept.labels >= 0).all()
