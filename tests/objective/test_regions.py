import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.objective import monitors, regions


def test_regression_by_hand():
  boxes = jnp.array([[[0.5, 0.5, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]]])
  target = jnp.array([[[0.6, 0.5, 0.4, 0.4], [0.9, 0.9, 0.1, 0.1]]])
  mask = jnp.array([[True, False]])
  loss, count = regions.regression_loss(boxes, target, mask, l1=1.0, giou=2.0)
  # Overlap .3 x .4 of two .4 x .4 boxes; the hull is .5 x .4 = the union.
  iou = 0.12 / (0.32 - 0.12)
  np.testing.assert_allclose(loss, 0.1 + 2 * (1 - iou), rtol=1e-5)
  assert count == 1


def test_equal_boxes_cost_nothing_but_without_the_stop_target_follows():
  boxes = jnp.array([[[0.5, 0.5, 0.4, 0.4]]])
  mask = jnp.ones((1, 1), bool)

  def cost(target):
    return regions.regression_loss(boxes, target, mask, l1=1.0, giou=1.0)[0]

  np.testing.assert_allclose(cost(boxes), 0.0, atol=1e-6)
  moved = boxes + jnp.array([[[0.1, 0.0, 0.0, 0.0]]])
  # The trivial solution: a free target has a gradient towards the box itself.
  assert jax.grad(cost)(moved)[0, 0, 0] > 0


def test_every_phrase_keeps_its_best_region_however_small():
  # Phrase 0 is large and fitted well, 1 small and fitted badly; 2 is padding.
  fit = jnp.array([[[0.8, 0.0, 1.0], [0.4, 0.1, 1.0], [0.0, 0.05, 1.0]]])
  mask = jnp.array([[True, True, False]])
  target = regions.saliency_target(fit, mask)
  np.testing.assert_allclose(target, [[1.0, 1.0, 0.5]], rtol=1e-6)
  # What no region fits gives no region a claim, and nothing divides by zero.
  np.testing.assert_array_equal(regions.saliency_target(0 * fit, mask), 0.0)
  np.testing.assert_array_equal(regions.saliency_target(fit, mask & False), 0.0)


def test_saliency_loss_has_its_minimum_at_the_target():
  target = jnp.array([[0.3]])
  mask = jnp.ones((1, 1), bool)
  gradient = jax.grad(
    lambda logit: regions.saliency_loss(logit, target, mask)[0]
  )(jax.scipy.special.logit(target))
  np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_scales_are_told_by_level():
  """p_w and p_h of Algorithm 1, line 9, which start at 1."""
  levels = {
    "level_1": {"log_scale": jnp.log(jnp.array([2.0, 0.5]))},
    "level_2": {"fusion": {}},
  }
  found = monitors.scale_monitors(levels)
  assert set(found) == {"p_w_1", "p_h_1"}
  np.testing.assert_allclose(found["p_w_1"], (2.0, 1.0), rtol=1e-6)
  np.testing.assert_allclose(found["p_h_1"], (0.5, 1.0), rtol=1e-6)


def test_monitors_tell_a_collapse_from_a_spread():
  same = jnp.tile(jnp.array([0.5, 0.5, 0.2, 0.2]), (1, 2, 3, 1))
  mask = jnp.ones((1, 3), bool)
  score = jnp.ones((1, 3))
  ratio = {
    name: float(total / count)
    for name, (total, count) in monitors.region_monitors(
      same, mask, score
    ).items()
  }
  np.testing.assert_allclose(ratio["pairwise_iou"], 1.0, rtol=1e-4)
  np.testing.assert_allclose(ratio["spread"], 0.0, atol=1e-6)
  np.testing.assert_allclose(ratio["area"], 0.04, rtol=1e-5)
  np.testing.assert_allclose(ratio["saliency_entropy"], np.log(3), rtol=1e-5)
  moved = same.at[0, 1, 0, 0].set(0.8)
  other = monitors.region_monitors(moved, mask, score)
  np.testing.assert_allclose(
    other["shift_x"][0] / other["shift_x"][1], 0.1, rtol=1e-4
  )
  assert other["spread"][0] > 0
