import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.ops import select as ops

select_regions = jax.jit(
  ops.select_regions, static_argnames=("top", "normalise")
)
normalise_saliency = jax.jit(ops.normalise_saliency, static_argnames="mode")

SALIENCY = jnp.array([[0.2, 0.8, 0.4, 0.6], [0.1, 0.1, 0.1, 0.05]])
BOXES = jnp.arange(32.0).reshape(2, 4, 4)
EMBEDDINGS = jnp.arange(24.0).reshape(2, 4, 3)


def select(saliency=SALIENCY, **change):
  settings = {"top": 3, "threshold": 0.5, "normalise": "max"} | change
  return select_regions(BOXES, EMBEDDINGS, saliency, **settings)


def test_filter_by_hand():
  """Steps (a) to (d): /0.8 gives .25 1 .5 .75; .5 does not exceed h = .5."""
  kept = select()
  np.testing.assert_array_equal(kept["index"][0], [1, 3, 2])
  np.testing.assert_allclose(kept["score"][0], [1.0, 0.75, 0.5], rtol=1e-6)
  np.testing.assert_array_equal(kept["mask"][0], [True, True, False])
  np.testing.assert_array_equal(
    kept["boxes"][0], BOXES[0, jnp.array([1, 3, 2])]
  )
  np.testing.assert_array_equal(kept["embeddings"][0, 0], EMBEDDINGS[0, 1])


def test_equal_saliencies_keep_their_order():
  kept = select()
  np.testing.assert_array_equal(kept["index"][1], [0, 1, 2])
  np.testing.assert_array_equal(kept["mask"][1], [True, True, True])


def test_the_first_t_are_kept():
  kept = select(top=2, threshold=0.0)
  assert kept["boxes"].shape == (2, 2, 4)
  np.testing.assert_array_equal(kept["index"][0], [1, 3])


@pytest.mark.parametrize("mode", ["max", "minmax", "softmax"])
@pytest.mark.parametrize("value", [0.0, 1e-30, 0.7, 1.0])
def test_one_region_always_survives(mode, value):
  """Also when all saliencies are equal, or vanish."""
  kept = select(jnp.full((2, 4), value), threshold=0.999, normalise=mode)
  assert bool(kept["mask"].any(axis=-1).all())
  assert bool(jnp.isfinite(kept["score"]).all())


def test_normalisations_by_hand():
  minmax = normalise_saliency(SALIENCY[:1], mode="minmax")
  np.testing.assert_allclose(minmax[0], [0, 1, 1 / 3, 2 / 3], atol=1e-6)
  softmax = normalise_saliency(SALIENCY[:1], mode="softmax")
  np.testing.assert_allclose(
    softmax[0], np.exp([-0.6, 0, -0.4, -0.2]), rtol=1e-6
  )
  for mode in ("max", "minmax", "softmax"):
    top = normalise_saliency(SALIENCY, mode=mode).max(axis=-1)
    np.testing.assert_allclose(top, 1.0, rtol=1e-6)


def test_saliency_gets_a_gradient_through_the_score():
  def weighted(saliency):
    kept = select(saliency)
    weight = jnp.where(kept["mask"], kept["score"], 0.0)[..., None]
    return (kept["embeddings"] * weight).sum()

  differentiate = jax.jit(jax.grad(weighted))
  gradient = differentiate(SALIENCY)
  assert float(jnp.abs(gradient[0, 3])) > 0  # kept
  assert float(gradient[0, 0]) == 0  # not selected: no gradient at all
  assert bool(jnp.isfinite(differentiate(jnp.zeros((2, 4)))).all())


def test_bad_settings_are_named():
  with pytest.raises(ValueError, match="top=5"):
    select(top=5)
  with pytest.raises(ValueError, match="sum"):
    select(normalise="sum")
