import copy
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from slan_jax.evaluation import box_ap
from slan_jax.evaluation.box_ap import coco_truth
from slan_jax.evaluation.result_file import detection_rows

LEFT, RIGHT = [0.0, 0.25, 0.5, 0.75], [0.5, 0.0, 1.0, 1.0]


class Objects(NamedTuple):
  boxes: np.ndarray
  labels: np.ndarray
  crowd: np.ndarray
  areas: np.ndarray


def held(boxes, labels, crowd=None, areas=None):
  crowd = [False] * len(labels) if crowd is None else crowd
  return Objects(
    np.array(boxes, np.float32).reshape(-1, 4),
    np.array(labels, np.int32),
    np.array(crowd, bool),
    np.array([0.0] * len(labels) if areas is None else areas, np.float32),
  )


@pytest.fixture
def truth():
  """Two pictures; classes with numbers that have a gap; no bird anywhere."""
  return coco_truth(
    [139, 7],
    np.array([[200, 100], [50, 50]]),
    [held([LEFT, RIGHT], [0, 1]), held([LEFT], [0])],
    ["cat", "dog", "bird"],
    [17, 3, 90],
  )


def found(image, category, box, score):
  return {
    "image_id": image,
    "category_id": category,
    "bbox": box,
    "score": score,
  }


CAT_139 = found(139, 17, [0, 25, 100, 50], 0.9)
DOG_139 = found(139, 3, [100, 0, 100, 100], 0.8)
CAT_7 = found(7, 17, [0, 12.5, 25, 25], 0.4)


def test_truth_is_in_pixels_with_official_numbers(truth):
  assert [row["bbox"] for row in truth["annotations"]] == [
    [0, 25, 100, 50],
    [100, 0, 100, 100],
    [0, 12.5, 25, 25],
  ]
  assert [row["category_id"] for row in truth["annotations"]] == [17, 3, 17]
  assert [row["area"] for row in truth["annotations"]] == [5000, 10000, 625]


def test_perfect_answers_score_100(truth):
  report = box_ap.box_ap(truth, [CAT_139, DOG_139, CAT_7])
  assert report.metrics["ap"] == report.metrics["ap75"] == pytest.approx(100)
  assert set(report.classes) == {"cat", "dog"}  # there is no bird to find
  assert report.classes["cat"] == (pytest.approx(100), pytest.approx(100), 2)
  # 25 by 25 pixels is small, 5,000 pixels medium, 10,000 large.
  for size in ("small", "medium", "large"):
    assert report.metrics[f"ap_{size}"] == pytest.approx(100)


def test_sizes_go_by_the_outline_where_it_is_known():
  truth = coco_truth(
    [1], np.array([[200, 100]]), [held([LEFT], [0], None, [900])], ["cat"], [1]
  )
  metrics = box_ap.box_ap(truth, []).metrics
  assert "ap_small" in metrics and "ap_medium" not in metrics


def test_scores_by_hand(truth):
  # A cat that is not there ranks between the true ones: precision is 1 up to
  # recall 1/2 (51 points of 101), then 2/3. Of the dog, IoU is 0.8: it counts
  # at 7 of the 10 thresholds (0.5 to 0.8).
  wrong = found(7, 17, [30, 30, 10, 10], 0.5)
  dog = found(139, 3, [100, 0, 100, 80], 0.8)
  metrics = box_ap.box_ap(truth, [CAT_139, wrong, CAT_7, dog]).metrics
  cat = (51 + 50 * 2 / 3) / 101
  assert metrics["ap50"] == pytest.approx(100 * (cat + 1) / 2)
  assert metrics["ap75"] == pytest.approx(100 * (cat + 1) / 2)
  assert metrics["ap"] == pytest.approx(100 * (cat + 0.7) / 2)
  assert metrics["ar1"] == pytest.approx(100 * (0.5 + 0.7) / 2)


def test_curves_are_precision_over_recall(truth):
  wrong = found(7, 17, [30, 30, 10, 10], 0.5)
  curves = box_ap.box_ap(truth, [CAT_139, wrong, CAT_7, DOG_139]).curves
  np.testing.assert_allclose(curves.recall, np.arange(101), atol=1e-9)
  cat = np.array([100.0] * 51 + [200 / 3] * 50)
  np.testing.assert_allclose(curves.classes50["cat"], cat)
  np.testing.assert_allclose(curves.mean50, (cat + 100) / 2)
  np.testing.assert_allclose(curves.mean75, (cat + 100) / 2)


def test_crowds_neither_count_nor_cost():
  truth = coco_truth(
    [1],
    np.array([[100, 100]]),
    [held([LEFT, RIGHT], [0, 0], [False, True])],
    ["cat"],
    [1],
  )
  own, inside = [0, 25, 50, 50], [60, 10, 20, 20]
  # Three boxes in the crowd rank before the one that counts.
  results = [found(1, 1, inside, 0.9)] * 3 + [found(1, 1, own, 0.5)]
  report = box_ap.box_ap(truth, results)
  assert report.metrics["ap"] == pytest.approx(100)
  assert report.classes["cat"].objects == 1


def test_no_results_score_0_and_leave_out_no_object(truth):
  report = box_ap.box_ap(truth, [])
  assert {*report.metrics.values()} == {0.0}
  assert report.classes["cat"].objects == 2


def test_inputs_stay_as_they_are(truth):
  results = [CAT_139, DOG_139]
  before = copy.deepcopy((truth, results))
  box_ap.box_ap(truth, results)
  assert (truth, results) == before


def test_our_arrays_become_rows(truth):
  rows = detection_rows(
    [139, 7],
    np.array([[200, 100], [50, 50]]),
    np.array([[LEFT, RIGHT], [LEFT, LEFT]], np.float32),
    np.array([[0.9, 0.8], [0.4, -1.0]], np.float32),
    np.array([[0, 1], [0, -1]]),
    [17, 3, 90],
  )
  assert rows == [
    {**row, "score": pytest.approx(row["score"])}
    for row in (CAT_139, DOG_139, CAT_7)
  ]
  assert box_ap.box_ap(truth, rows).metrics["ap"] == pytest.approx(100)
  with pytest.raises(ValueError, match="image 139 has boxes or scores"):
    detection_rows(
      [139],
      np.array([[200, 100]]),
      np.full((1, 1, 4), np.nan, np.float32),
      np.ones((1, 1)),
      np.array([[0]]),
      [17],
    )


@pytest.mark.parametrize(
  "row,message",
  [
    ({**CAT_139, "image_id": 8}, "result 1 is about image 8, which is not in"),
    ({**CAT_139, "category_id": 1}, "names category 1, which is not in"),
    ({**CAT_139, "score": float("nan")}, "result 1 holds numbers that are"),
    ({**CAT_139, "bbox": [0, 0, np.inf, 1]}, "not finite"),
  ],
)
def test_results_of_another_split_are_refused(truth, row, message):
  with pytest.raises(ValueError, match=message):
    box_ap.box_ap(truth, [CAT_139, row])


def test_a_truth_without_objects_is_refused(truth):
  with pytest.raises(ValueError, match="has no object"):
    box_ap.box_ap({**truth, "annotations": []}, [CAT_139])


@pytest.mark.skipif(
  "SLAN_TEST_DATA" not in os.environ, reason="the official example is not here"
)
def test_the_official_example_gives_its_published_table():
  folder = Path(os.environ["SLAN_TEST_DATA"]) / "coco_eval"
  truth = json.loads((folder / "instances_val2014_100.json").read_bytes())
  results = json.loads(
    (folder / "instances_val2014_fakebbox100_results.json").read_bytes()
  )
  report = box_ap.box_ap(truth, results)
  precise = {"ap": 50.4581, "ap50": 69.6973, "ap75": 57.2982}
  for name, value in precise.items():
    assert report.metrics[name] == pytest.approx(value, abs=1e-4)
  published = {
    "ap_small": 0.586, "ap_medium": 0.519, "ap_large": 0.501, "ar1": 0.387,
    "ar10": 0.594, "ar100": 0.595, "ar_small": 0.640, "ar_medium": 0.566,
    "ar_large": 0.564,
  }  # fmt: skip
  for name, value in published.items():
    assert report.metrics[name] / 100 == pytest.approx(value, abs=5e-4)
  means = [row.ap for row in report.classes.values()]
  assert np.mean(means) == pytest.approx(report.metrics["ap"])
