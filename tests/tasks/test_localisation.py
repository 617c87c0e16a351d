"""The losses of regions that are already located: plain arrays, no model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models.slan import Slan
from slan_jax.tasks import localisation
from slan_jax.tasks.config import Localisation
from tests.models.small import small_config

OPTIONS = Localisation(
  top=0, threshold=0.0, temperature=0.1, nothing=0.3, fit=False,
  cost_tokens=1.0, cost_l1=5.0, cost_giou=2.0,
  tokens=1.0, l1=5.0, giou=2.0, nothing_weight=0.1, auxiliary=1.0,
)  # fmt: skip
LEVELS, REGIONS, TOKENS = 2, 3, 4


def located(seed=0):
  """Boxes, log probabilities and counting tokens of two images."""
  rng = np.random.default_rng(seed)
  boxes = rng.uniform(0.2, 0.6, (2, LEVELS, REGIONS, 4))
  p = rng.dirichlet(np.ones(TOKENS + 1), (2, LEVELS, REGIONS))
  counts = np.array([[True] * 4, [True, True, False, False]])
  return [jnp.float32(boxes), jnp.float32(np.log(p)), jnp.array(counts)]


def targets(count=2, tokens=((1, 0, 0, 0), (0, 1, 1, 0))):
  rng = np.random.default_rng(1)
  return localisation.Targets(
    boxes=jnp.float32(rng.uniform(0.2, 0.6, (2, count, 4))),
    exists=jnp.ones((2, count), bool),
    tokens=jnp.float32([np.resize(tokens, (count, TOKENS))] * 2),
  )


run = jax.jit(localisation.localisation_terms, static_argnums=0)


def test_levels_add_up_and_the_last_is_no_auxiliary():
  found, wanted = located(), targets()
  terms, watched = run(OPTIONS, *found, wanted)
  none = dataclasses.replace(OPTIONS, auxiliary=0.0)
  each = []
  for level in range(LEVELS):
    one = [x[:, level : level + 1] for x in found[:2]]
    each.append(run(none, *one, found[2], wanted))
  for name in ("tokens", "l1", "giou"):
    first, last = (level[0][name][0] for level in each)
    np.testing.assert_allclose(terms[name][0], first + last, rtol=1e-5)
    np.testing.assert_allclose(
      run(none, *found, wanted)[0][name][0], last, rtol=1e-5
    )
  for name, level in (("matched_iou", 1), ("matched_iou_level0", 0)):
    np.testing.assert_allclose(
      watched[name], each[level][1]["matched_iou"], rtol=1e-5
    )
  assert watched["boxes_lost"] == (0, 2)
  np.testing.assert_allclose(
    localisation.total(terms),
    sum(float(total) / 4 for total, _ in terms.values()),
    rtol=1e-5,
  )


def test_weights_are_factors():
  found, wanted = located(), targets()
  plain = run(dataclasses.replace(OPTIONS, l1=1.0, giou=1.0), *found, wanted)
  found = run(OPTIONS, *found, wanted)
  for name, factor in (("tokens", 1), ("l1", 5), ("giou", 2)):
    np.testing.assert_allclose(
      found[0][name][0], factor * plain[0][name][0], rtol=1e-5
    )


def test_padding_and_tokens_without_a_voice_are_passed_over():
  boxes, log_p, counts = located()
  wanted = targets(tokens=((1, 0, 0, 0), (0, 0, 1, 0)))
  # In the second image no token speaks for the second box.
  terms, watched = run(OPTIONS, boxes, log_p, counts, wanted)
  assert watched["boxes_lost"] == (1, 2) and terms["l1"][1] == 3
  padded = wanted._replace(exists=wanted.exists.at[1, 1].set(False))
  padded = padded._replace(boxes=padded.boxes.at[1, 1].set(jnp.nan))
  again, watched = run(OPTIONS, boxes, log_p, counts, padded)
  assert watched["boxes_lost"] == (0, 2)
  jax.tree.map(np.testing.assert_array_equal, terms, again)


def test_more_boxes_than_regions_are_lost_and_counted():
  found, wanted = located(), targets(count=5, tokens=((1, 0, 0, 0),))
  terms, watched = run(OPTIONS, *found, wanted)
  assert watched["boxes_lost"] == (4, 2)
  kept = jax.tree.map(lambda x: x[:, :REGIONS], wanted)
  expected, _ = run(OPTIONS, *found, kept)
  jax.tree.map(np.testing.assert_array_equal, terms, expected)


def test_the_filter_is_lifted_but_no_parameter_added():
  cfg = small_config("scenes,preset=paper")[0]
  lifted = localisation.with_regions(cfg, OPTIONS)
  assert lifted.filter.top == cfg.detector.queries > cfg.filter.top
  assert lifted.filter.threshold == 0.0
  told = dataclasses.replace(OPTIONS, top=2, threshold=0.5)
  assert localisation.with_regions(cfg, told).filter.top == 2

  def shapes(cfg):
    image = jnp.zeros((1, cfg.image_size, cfg.image_size, 3), jnp.uint8)
    ids = jnp.zeros((1, 4), jnp.int32)
    init = Slan(cfg).init
    return jax.eval_shape(
      init, jax.random.key(0), image, ids, jnp.ones((1, 4), bool)
    )

  assert shapes(cfg) == shapes(lifted)


@pytest.mark.parametrize("scale", [0.0, 1e9])
def test_degenerate_boxes_give_no_nan(scale):
  boxes, log_p, counts = located()

  def loss(boxes, log_p):
    found = run(OPTIONS, boxes, log_p, counts, targets())
    return localisation.total(found[0])

  value, gradient = jax.value_and_grad(loss, (0, 1))(boxes * scale, log_p)
  leaves = jax.tree.leaves((value, gradient))
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
