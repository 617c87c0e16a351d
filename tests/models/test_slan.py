"""What the model does between its parts."""

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.models.slan import Slan
from tests.models.small import small_config

BOXES = jnp.array([[[0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]]])


def regions(states, kernel=None, **overrides):
  """E_0^G of two proposals on a map of ones."""
  cfg, _ = small_config(
    "scenes,preset=paper", model__filter__top=2, **overrides
  )
  params = {}
  if kernel is not None:
    bias = jnp.zeros(kernel.shape[1])
    params = {"query_projection": {"kernel": kernel, "bias": bias}}
  proposals = {
    "boxes": BOXES,
    "states": states,
    "saliency_logit": jnp.array([[0.0, -1.0]]),
  }
  v = jnp.ones((1, 4, 4, 16))
  found = Slan(cfg).apply({"params": params}, proposals, v, method="_filter")
  return found["embeddings"]


def test_regions_are_weighed_by_their_saliency():
  """3.2.2: RoIAlign of V, "weight region embeddings by the scores"."""
  found = regions(jnp.zeros((1, 2, 16)))
  np.testing.assert_allclose(found[0, 0], 1.0, rtol=1e-5)
  least = jax.nn.sigmoid(-1.0) / jax.nn.sigmoid(0.0)
  np.testing.assert_allclose(found[0, 1], least, rtol=1e-5)


def test_query_states_and_positions_join_only_when_asked():
  """Row 4: region embeddings come "from the feature map V" alone."""
  states = jnp.stack([jnp.full((16,), 2.0), jnp.full((16,), 4.0)])[None]
  weight = regions(jnp.zeros((1, 2, 16)))
  np.testing.assert_array_equal(regions(states), weight)
  joined = regions(states, jnp.eye(16), model__filter__add_query=True)
  np.testing.assert_allclose(joined, weight * (1 + states), rtol=1e-5)
  placed = regions(states, model__filter__add_position=True) / weight - 1
  assert jnp.abs(placed[0, 0] - placed[0, 1]).max() > 0.1
