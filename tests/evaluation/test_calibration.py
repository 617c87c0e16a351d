"""Platt scaling against a world whose probabilities are known."""

import numpy as np
import pytest

from slan_jax.evaluation import calibration
from slan_jax.evaluation.calibration import Calibration


def world(count=20_000, slope=0.5, intercept=-1.0):
  """Log odds, and matches that happen as often as slope and intercept say."""
  rng = np.random.default_rng(0)
  odds = rng.normal(0, 4, count)
  probability = 1 / (1 + np.exp(-(slope * odds + intercept)))
  return odds, rng.random(count) < probability


def test_the_world_is_found_again():
  odds, match = world()
  found = calibration.fit(odds, match, np.ones(len(odds)))
  assert found.slope == pytest.approx(0.5, abs=0.02)
  assert found.intercept == pytest.approx(-1, abs=0.05)


def test_weights_count_as_copies():
  odds, match = world(400)
  weight = np.where(match, 2.0, 1.0)
  double = (
    np.concatenate([odds, odds[match]]),
    np.concatenate([match, match[match]]),
  )
  # Platt's targets count pairs, so they are not quite the same.
  one = calibration.fit(odds, match, weight)
  other = calibration.fit(*double, np.ones(len(double[0])))
  np.testing.assert_allclose(one, other, atol=0.02)


def test_separable_odds_stay_finite():
  odds = np.array([-3.0, -1, 1, 3])
  found = calibration.fit(odds, odds > 0, np.ones(4))
  assert 0.1 < found.slope < 5 and abs(found.intercept) < 1e-3
  assert Calibration(2.0, 0.0)(np.array([-1e4, 1e4])).tolist() == [0, 1]


def test_quality_by_hand():
  p = np.array([0.9, 0.9, 0.2, 0.2])
  match = np.array([True, False, False, False])
  found = calibration.quality(p, match, np.ones(4))
  nll = -(np.log(0.9) + np.log(0.1) + 2 * np.log(0.8)) / 4
  assert found["nll"] == pytest.approx(nll)
  # |.9 - .5| in one bin, |.2 - 0| in the other, half of the pairs each.
  assert found["ece"] == pytest.approx(0.3)


def test_pairs_are_what_the_protocol_says():
  rng = np.random.default_rng(1)
  count = 40
  itc = rng.normal(size=(count, count))
  tokens = np.arange(count)[:, None] // 2  # texts in pairs of equals
  pairs = calibration.choose_pairs(itc, tokens)
  assert pairs.match.sum() == count and len(pairs.match) == 3 * count
  assert pairs.weight[pairs.match].sum() == pairs.weight[~pairs.match].sum()
  same = tokens[pairs.image, 0] == tokens[pairs.text, 0]
  np.testing.assert_array_equal(same, pairs.match)
  hard = slice(2 * count, None)
  for image, text in zip(pairs.image[hard], pairs.text[hard]):
    better = itc[image] > itc[image, text]
    assert (better & (tokens[:, 0] != tokens[image, 0])).sum() < 16
  with pytest.raises(ValueError, match="too few"):
    calibration.choose_pairs(itc, np.zeros((count, 3), int))


def test_calibration_helps_on_the_other_half():
  odds, match = world(4000)
  rows = np.arange(len(odds))
  weight = np.where(match, 1 / match.mean(), 1 / (~match).mean())
  pairs = calibration.Pairs(rows, rows, match, weight)
  found = calibration.calibrate(pairs, odds)
  assert found["calibrated"]["nll"] < found["raw"]["nll"]
  assert found["calibrated"]["ece"] < 0.05 < found["raw"]["ece"]
  assert found["pairs"] == 4000 and "equal texts" in found["protocol"]
