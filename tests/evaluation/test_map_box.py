"""The box and the maximum of a similarity map."""

import numpy as np
import pytest

from slan_jax.evaluation import map_box


def blob():
  similarity = np.zeros((8, 10))
  similarity[2:4, 3:6] = 0.8
  similarity[3, 4] = 1.0
  similarity[6:, 8:] = 0.9  # a second object, not connected
  return similarity


def test_box_of_the_part_around_the_maximum():
  np.testing.assert_allclose(map_box.map_box(blob()), [0.3, 0.25, 0.6, 0.5])


def test_cells_below_the_fraction_are_cut():
  similarity = blob()
  similarity[2, 3:6] = 0.4
  np.testing.assert_allclose(
    map_box.map_box(similarity), [0.3, 0.375, 0.6, 0.5]
  )


def test_scores_of_a_map():
  truth = np.array([[0.3, 0.25, 0.6, 0.5]])
  assert set(map_box.score_map(blob(), truth).values()) == {1}
  far = np.array([[0.0, 0.8, 0.1, 1.0]])
  assert set(map_box.score_map(blob(), far).values()) == {0}
  wider = np.array([[0.3, 0.25, 0.6, 0.875]])  # IoU 0.4
  scores = map_box.score_map(blob(), wider)
  assert scores["map_r1"] == 0 and scores["map_r1_iou30"] == 1
  assert scores["map_mean_iou"] == pytest.approx(0.4)


def test_constant_map_points_nowhere():
  truth = np.array([[0.0, 0.0, 0.3, 0.3]])
  scores = map_box.score_map(np.ones((4, 4)), truth)
  assert scores["map_r1"] == scores["map_pointing"] == 0
