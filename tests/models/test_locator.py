import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models.locator import Locator
from tests.models.small import small_config

WIDTH = 16


def run(cfg, *, maps=None, boxes=None, features=None, seed=0, params=None):
  """One image with two regions, three words and three equal levels."""
  if boxes is None:
    boxes = jnp.array([[[0.5, 0.5, 0.2, 0.2], [0.3, 0.3, 0.2, 0.2]]])
  keys = jax.random.split(jax.random.key(seed), 3)
  words = jax.random.normal(keys[0], (1, 3, WIDTH))
  if features is None:
    features = jax.random.normal(keys[1], (1, 8, 8, WIDTH))
  regions = {
    "boxes": boxes,
    "embeddings": jax.random.normal(keys[2], (1, boxes.shape[1], WIDTH)),
    "mask": jnp.ones(boxes.shape[:2], bool),
  }
  exists = jnp.ones((1, 3), bool)
  module = Locator(cfg, jnp.float32)
  arguments = (regions, words, exists, exists, (features,) * 3, maps)
  if params is None:
    params = module.init(jax.random.key(9), *arguments)
  return module.apply(params, *arguments), params


def lit(rows, columns, side=32):
  """A phrase map that is 1 on a rectangle: [1, side, side, 1]."""
  return jnp.zeros((1, side, side, 1)).at[:, rows, columns].set(1.0)


def test_soft_extent_finds_place_and_size_of_an_object():
  cfg, _ = small_config(
    model__adaptor__grid=7,
    model__adaptor__sampling_ratio=4,
    model__adaptor__extent_threshold=0.5,  # the edge of a map of 0 and 1
  )
  # Object: x in [.5, .75], y in [.25, .625].
  maps = lit(slice(8, 20), slice(16, 24))
  found, _ = run(cfg, maps=(maps, jnp.ones((1, 1), bool)))
  box = found.boxes[0, -1, 0]
  np.testing.assert_allclose(box, [0.625, 0.4375, 0.25, 0.375], atol=0.06)
  assert found.confirmed[0, 0]


def test_a_region_that_no_phrase_reaches_stays():
  cfg, _ = small_config(model__adaptor__grid=7)
  maps = lit(slice(30, 32), slice(30, 32))
  boxes = jnp.array([[[0.2, 0.2, 0.2, 0.2]]])
  found, _ = run(cfg, maps=(maps, jnp.ones((1, 1), bool)), boxes=boxes)
  np.testing.assert_allclose(found.boxes[0, -1, 0], boxes[0, 0], atol=1e-6)
  assert not found.confirmed[0, 0]


def test_mutual_assignment_leaves_no_phrase_alone():
  # Phrase 0 is stronger everywhere, so that every region prefers it.
  first, second = (
    lit(slice(4, 12), slice(4, 12)),
    lit(slice(4, 12), slice(16, 24)),
  )
  maps = jnp.concatenate([first, 0.6 * second], axis=-1)
  boxes = jnp.array([[[0.25, 0.25, 0.2, 0.2], [0.45, 0.25, 0.2, 0.2]]])
  valid = jnp.ones((1, 2), bool)
  reached = {}
  for assignment in ("best", "mutual"):
    cfg, _ = small_config(
      model__adaptor__grid=7,
      model__adaptor__assignment=assignment,
      model__adaptor__extent_threshold=0.5,
    )
    found, _ = run(cfg, maps=(maps, valid), boxes=boxes)
    reached[assignment] = float(found.boxes[0, -1, :, 0].max())
  assert reached["mutual"] > 0.5 > reached["best"]


def test_object_to_the_right_moves_right_unless_axes_are_swapped():
  word = jax.random.normal(
    jax.random.split(jax.random.key(0), 3)[0], (1, 3, 16)
  )
  features = jnp.zeros((1, 8, 8, WIDTH)).at[:, 3:5, 6:].set(word[0, 0])
  moves = {}
  for swap in (False, True):
    cfg, _ = small_config(
      "scenes,preset=paper",
      model__adaptor__swap_axes=swap,
      model__adaptor__fusion="bi_mha",
      model__adaptor__levels=1,
      model__adaptor__windows=(0.8,),
      model__adaptor__window_units=("image",),
    )
    boxes = jnp.array([[[0.5, 0.5, 0.2, 0.2]]])
    found, _ = run(cfg, features=features, boxes=boxes)
    moves[swap] = found.boxes[0, 1, 0, :2] - 0.5
  assert moves[False][0] > 0.05 > abs(moves[False][1])
  assert moves[True][1] > 0.05 > abs(moves[True][0])


def test_gradient_reaches_scales_and_offsets_past_a_fixed_target():
  """Rows 15 and 16 of docs/METHOD.md: L_reg's target is fixed, and yet the
  adaptor learns, through RoIAlign's gradient with respect to the boxes."""
  cfg, _ = small_config("scenes,preset=paper")
  _, params = run(cfg)
  weights = jax.random.normal(jax.random.key(5), (1, 2, WIDTH))

  def loss(params, cfg):
    found, _ = run(cfg, params=params)
    return jnp.sum(found.regions * weights)

  gradient = jax.grad(loss)(params, cfg)["params"]
  for level in ("level_1", "level_2", "level_3"):
    assert jnp.abs(gradient[level]["log_scale"]).min() > 0
  stopped, _ = small_config(
    "scenes,preset=paper", model__adaptor__differentiable_boxes=False
  )
  gradient = jax.grad(loss)(params, stopped)["params"]
  assert jnp.abs(gradient["level_3"]["log_scale"]).max() == 0


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_number_of_levels(levels):
  cfg, _ = small_config("scenes,preset=paper", model__adaptor__levels=levels)
  found, _ = run(cfg)
  assert found.boxes.shape == (1, levels + 1, 2, 4)
  expected = found.boxes[:, 1:].mean(1) if levels else found.boxes[:, 0]
  np.testing.assert_allclose(found.mean_boxes, expected, rtol=1e-6)


def test_overwrite_forgets_the_fused_region_and_add_keeps_it():
  outputs = {}
  for refine in ("overwrite", "add"):
    cfg, _ = small_config(
      "scenes,preset=paper",
      model__adaptor__refine=refine,
      model__adaptor__levels=1,
    )
    found, _ = run(cfg)
    outputs[refine] = found.regions
  # What "add" has on top is Eq. 1's mixture of words, a convex one.
  assert jnp.abs(outputs["add"] - outputs["overwrite"]).max() > 0.1


def test_boxes_leave_the_image_only_unclipped():
  """Row 13: words everywhere, raw similarities and the wide pitch pull the
  region by -3 windows, cells beyond the border being no neighbours."""
  word = jax.random.normal(
    jax.random.split(jax.random.key(0), 3)[0], (1, 3, 16)
  )[:, 0]
  features = jnp.broadcast_to(word[:, None, None], (1, 8, 8, WIDTH))
  found = {}
  for clip in (True, False):
    cfg, _ = small_config(
      "scenes,preset=paper",
      model__adaptor__clip_boxes=clip,
      model__adaptor__fusion="bi_mha",
      model__adaptor__similarity="raw",
      model__adaptor__pitch="window",
      model__adaptor__levels=1,
      model__adaptor__windows=(0.8,),
      model__adaptor__window_units=("image",),
    )
    boxes = jnp.array([[[0.9, 0.5, 0.2, 0.2]]])
    _, params = run(cfg, features=features, boxes=boxes)
    params["params"]["level_1"]["log_scale"] = jnp.log(jnp.array([8.0, 1.0]))
    moved, _ = run(cfg, features=features, boxes=boxes, params=params)
    found[clip] = moved.boxes[0, 1, 0]
  np.testing.assert_allclose(found[True], [0, 0.5, 1, 0.2], atol=0.01)
  np.testing.assert_allclose(found[False], [-1.5, 0.5, 1.6, 0.2], atol=0.1)


def test_window_units_make_the_search_follow_the_box():
  maps = (lit(slice(0, 32), slice(0, 32)), jnp.ones((1, 1), bool))
  widths = {}
  for unit in ("image", "box"):
    cfg, _ = small_config(
      model__adaptor__levels=1,
      model__adaptor__windows=(0.5,),
      model__adaptor__window_units=(unit,),
      model__adaptor__window_bounds=(0.0, 1.0),
    )
    found, _ = run(cfg, maps=maps)
    widths[unit] = float(found.boxes[0, 1, 0, 2])
  # A map that is lit everywhere fills the window.
  np.testing.assert_allclose(widths["image"], 0.5, atol=0.02)
  np.testing.assert_allclose(widths["box"], 0.1, atol=0.01)
