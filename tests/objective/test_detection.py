"""Matching and set losses, by hand and against scipy and DETR's matcher."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from slan_jax.objective import detection

WEIGHTS = {"tokens": 1.0, "l1": 5.0, "giou": 2.0}


def random_case(seed, regions=6, boxes=4, tokens=3):
  rng = np.random.default_rng(seed)
  return {
    "probability": rng.dirichlet(np.ones(tokens + 1), (2, regions))[..., :-1],
    "boxes": rng.uniform(0.1, 0.6, (2, regions, 4)),
    "token_target": np.eye(tokens)[rng.integers(0, tokens, (2, boxes))],
    "target": rng.uniform(0.1, 0.6, (2, boxes, 4)),
  }


def cost_by_loops(case, image):
  """The cost in plain Python, in float64."""

  def corners(box):
    x, y, w, h = box
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])

  def area(low, high):
    return max(high[0] - low[0], 0) * max(high[1] - low[1], 0)

  rows = []
  for probability, box in zip(case["probability"][image], case["boxes"][image]):
    row = []
    for wanted, true in zip(case["token_target"][image], case["target"][image]):
      a, b = corners(box), corners(true)
      inner = area(np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:]))
      union = area(a[:2], a[2:]) + area(b[:2], b[2:]) - inner
      hull = area(np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:]))
      giou = inner / union - (hull - union) / hull
      row.append(5 * np.abs(box - true).sum() - probability @ wanted - 2 * giou)
    rows.append(row)
  return np.array(rows)


@jax.jit
def matched_and_cost(case, exists):
  cost = detection.match_cost(**case, **WEIGHTS)
  return detection.match_boxes(cost, exists), cost


@pytest.mark.parametrize("seed", range(5))
def test_matching_agrees_with_scipy_whatever_the_padding_holds(seed):
  case, count = random_case(seed), seed % 5  # 0 to 4 boxes, then padding
  exists = np.arange(4)[None] < np.array([[4], [count]])
  case["target"][1, count:] = np.nan
  matched, cost = matched_and_cost(case, exists)
  for image, boxes in enumerate((4, count)):
    np.testing.assert_allclose(
      cost[image, :, :boxes], cost_by_loops(case, image)[:, :boxes], rtol=1e-4
    )
    rows, columns = scipy.optimize.linear_sum_assignment(
      cost_by_loops(case, image)[:, :boxes]
    )
    expected = np.zeros((4, 6))
    expected[columns, rows] = 1
    np.testing.assert_array_equal(matched[image], expected)


def test_matching_agrees_with_detr(test_data):
  """Stored choices of DETR's matcher; without them, of its rule by scipy."""
  if test_data:
    stored = dict(np.load(test_data / "oracle" / "detr_matcher.npz"))
  else:
    rng = np.random.default_rng(0)
    stored = {
      "logits": rng.normal(size=(3, 20, 11)).astype(np.float32),
      "boxes": rng.uniform(0.1, 0.9, (3, 20, 4)).astype(np.float32),
    }
    for image, count in enumerate((4, 0, 9)):
      stored[f"tgt_labels_{image}"] = rng.integers(0, 10, count)
      stored[f"tgt_boxes_{image}"] = rng.uniform(0.1, 0.9, (count, 4))
  target, labels = np.zeros((3, 9, 4)), np.zeros((3, 9), int)
  exists = np.zeros((3, 9), bool)
  for image in range(3):
    count = len(stored[f"tgt_labels_{image}"])
    target[image, :count] = stored[f"tgt_boxes_{image}"]
    labels[image, :count] = stored[f"tgt_labels_{image}"]
    exists[image, :count] = True
  probability = jax.nn.softmax(stored["logits"])[..., :-1]
  case = {
    "probability": probability,
    "boxes": stored["boxes"],
    "token_target": np.eye(10)[labels],
    "target": target,
  }
  matched, _ = matched_and_cost(case, exists)
  for image in range(3):
    count = exists[image].sum()
    if "match_pred_0" in stored:
      rows, columns = (stored[f"match_{x}_{image}"] for x in ("pred", "tgt"))
    else:
      plain = jax.tree.map(np.asarray, case)
      rows, columns = scipy.optimize.linear_sum_assignment(
        cost_by_loops(plain, image)[:, :count]
      )
    assert matched[image].sum() == count
    np.testing.assert_array_equal(
      np.argmax(matched[image, columns], axis=-1), rows
    )


def test_more_boxes_than_regions_is_refused():
  with pytest.raises(ValueError, match=r"3 boxes.*2 regions.*queries"):
    detection.match_boxes(jnp.zeros((1, 2, 3)), jnp.ones((1, 3), bool))


def test_token_distribution_by_hand():
  logit = jnp.log(jnp.array([[[1.0, 2.0, 5.0]]]))
  candidates = jnp.array([[True, True, False]])
  found = detection.token_log_probability(
    logit, candidates, jnp.log(1.0), jnp.zeros((1, 1))
  )
  # Half salient; of that 1 : 2 : 1 for two tokens and nothing.
  expected = [0.5 * 0.25, 0.5 * 0.5, 0.0, 0.5 + 0.5 * 0.25]
  np.testing.assert_allclose(jnp.exp(found[0, 0]), expected, rtol=1e-5)


def test_losses_by_hand():
  log_probability = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))
  token_target = jnp.array([[[0.5, 0.5], [0.0, 1.0]]])  # the second is padding
  matched = jnp.array([[[1.0, 0.0], [0.0, 0.0]]])
  found = detection.soft_token_loss(
    log_probability, token_target, matched, nothing=0.1
  )
  expected = -0.5 * np.log(0.5) - 0.5 * np.log(0.25) - 0.1 * np.log(0.8)
  np.testing.assert_allclose(found, [expected], rtol=1e-5)
  boxes = jnp.array([[[0.5, 0.5, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]]])
  target = jnp.array([[[0.6, 0.5, 0.4, 0.4], [jnp.nan] * 4]])
  losses = detection.box_losses(boxes, target, matched)
  np.testing.assert_allclose(losses["l1"], [0.1], rtol=1e-5)
  # As in test_regions: overlap .3 x .4, hull = union.
  np.testing.assert_allclose(losses["giou"], [1 - 0.6], rtol=1e-5)


def test_nothing_degenerate_gives_nan():
  """Empty and huge boxes, no box, no token, saturated saliency."""
  boxes = jnp.array([[[0.5, 0.5, 0.0, 0.0], [2.0, -1.0, 1e-30, 9.0]]] * 3)
  target = jnp.array([[[0.5, 0.5, 0.0, 0.0]]] * 3)
  exists = jnp.array([[True], [False], [True]])
  candidates = jnp.array([[True], [True], [False]])
  token_target = jnp.array([[[1.0]], [[0.0]], [[0.0]]])

  def loss(boxes, logit, saliency_logit):
    log_p = detection.token_log_probability(
      logit, candidates, jnp.float32(0), saliency_logit
    )
    cost = detection.match_cost(
      jnp.exp(log_p[..., :-1]), boxes, token_target, target, **WEIGHTS
    )
    matched = detection.match_boxes(cost, exists)
    terms = detection.box_losses(boxes, target, matched)
    terms["tokens"] = detection.soft_token_loss(
      log_p, token_target, matched, nothing=0.1
    )
    return sum(jnp.sum(rows) for rows in terms.values())

  run = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
  for scale in (0.0, 1e4):
    logit = jnp.array([[[1.0], [-1.0]]] * 3) * scale
    value, gradient = run(boxes, logit, logit[..., 0])
    leaves = jax.tree.leaves((value, gradient))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
  # The matcher would never come back from a cost that is not finite.
  cost = detection.match_cost(
    jnp.ones((1, 2, 1)), boxes[:1] * jnp.nan, token_target[:1], target[:1],
    **WEIGHTS,
  )  # fmt: skip
  assert detection.match_boxes(cost, exists[:1]).sum() == 1
