"""What the model does between its parts."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.models.slan import ImageState, Slan, TextState
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
  inputs = proposals, v, None
  found = Slan(cfg).apply({"params": params}, *inputs, method="_filter")
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


def pair_states():
  """One image with two kept regions, and a text without any word."""
  keys = jax.random.split(jax.random.key(0), 3)
  regions = {
    "boxes": BOXES,
    "embeddings": jax.random.normal(keys[0], (1, 2, 16)),
    "mask": jnp.ones((1, 2), bool),
  }
  features = jax.random.normal(keys[1], (1, 4, 4, 16))
  image = ImageState({}, regions, (features,) * 3, None, None, features, None)
  words = jax.random.normal(keys[2], (1, 4, 16))
  mask = jnp.arange(4)[None] < 2  # [CLS], [SEP]
  return image, TextState(words, mask, None, None)


def test_special_tokens_move_regions_only_when_asked():
  """Row 7: "all word embeddings"."""
  image, text = pair_states()
  scale = {f"level_{i}": {"log_scale": jnp.zeros(2)} for i in (1, 2, 3)}
  moved = {}
  for words in ("tokens", "all"):
    cfg, _ = small_config("scenes,preset=paper", model__adaptor__words=words)
    apply = jax.jit(functools.partial(Slan(cfg).apply, method="locate"))
    params = {"params": {"locator": scale}}
    one = apply(params, image, text)
    other = apply(params, image, text._replace(words=text.words[..., ::-1]))
    moved[words] = jnp.abs(one.boxes - other.boxes).max()
  assert moved["tokens"] == 0 < moved["all"]


def test_matching_reads_the_regions_that_a_switch_names():
  """Row 20: v_cls of Eq. 4, after the adaptor or before it."""
  image, text = pair_states()
  adapted = 3 * image.regions["embeddings"]
  kernel = jnp.zeros((32, 2)).at[:16, 0].set(1.0)
  params = {"matching": {"kernel": kernel, "bias": jnp.zeros(2)}}
  total = jnp.sum(image.regions["embeddings"]) / 2
  for regions, expected in (("adapted", 3 * total), ("filtered", total)):
    cfg, _ = small_config(
      "scenes,preset=paper", model__heads__matching_regions=regions
    )
    located = types.SimpleNamespace(regions=adapted, words=text.words)
    logits = Slan(cfg).apply(
      {"params": params}, image, text, located, method="match"
    )
    np.testing.assert_allclose(logits[0, 0], expected, rtol=1e-5)


def test_the_object_itself_wins_over_one_that_touches_it_and_looks_alike():
  """The spread map fills both; the map before tells which one was meant."""
  cfg, _ = small_config("scenes")
  width = cfg.word_map.width
  # Two objects side by side, of which the left one answers the phrase better.
  answer = jnp.zeros((4, 4)).at[1:3, 0:2].set(1.0).at[1:3, 2:4].set(0.9)
  cells = jnp.zeros((1, 4, 4, width + 2)).at[0, ..., 0].set(answer)
  phrase = jnp.zeros((1, 1, width + 2)).at[..., 0].set(1.0)
  mask = jnp.ones((1, 1), bool)
  # Every finer cell is the mean of its row: both objects get the same.
  row = jnp.zeros((7, 7)).at[3].set(1.0).reshape(1, 49, 1, 1, 1, 1)
  weights = jnp.broadcast_to(row / 4, (1, 49, 4, 2, 4, 2))
  features = jnp.zeros((1, 4, 4, 16))
  image = ImageState({}, {}, (), cells, weights, features, None)
  phrases = {"vectors": phrase, "mask": mask}
  text = TextState(jnp.zeros((1, 4, 16)), mask, phrases, None)
  apply = functools.partial(Slan(cfg).apply, {}, image, text)
  maps = apply(method="phrase_maps")
  np.testing.assert_array_equal(maps.cosine[0, ..., 0], answer)
  left, right = maps.extent[0, :, :4], maps.extent[0, :, 4:]
  np.testing.assert_allclose(left, right, atol=1e-6)
  boxes = jnp.array([[[0.25, 0.5, 0.5, 0.5], [0.75, 0.5, 0.5, 0.5]]])
  fit = apply(boxes, method="box_fit")[0, :, 0]
  assert fit[0] > 2 * fit[1] > 0
