import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import torch

from slan_jax.models import word_map
from slan_torch import word_map as twin
from tests.models.small import small_config

# a=6 small=7 red=8 circle=9 and=10 blue=11 square=12
FUNCTION = (0, 2, 3, 6, 10)
IDS = jnp.array([[2, 6, 7, 8, 9, 10, 11, 12, 3, 0]])
MASK = IDS > 0


def test_phrases_are_runs_of_content_words():
  content = word_map.content_tokens(IDS, MASK, FUNCTION)
  assert content.tolist() == [[i in (2, 3, 4, 6, 7) for i in range(10)]]
  head, mask = word_map.phrase_heads(content, 3)
  assert head[0, :2].tolist() == [4, 7]
  assert mask.tolist() == [[True, True, False]]


def test_there_may_be_more_slots_than_tokens():
  """As for the prompt of captions, in either framework."""
  content = np.array([[False, True, False]])
  ours = word_map.phrase_heads(jnp.asarray(content), 5)
  theirs = twin.phrase_heads(torch.from_numpy(content), 5)
  for head, mask in (ours, theirs):
    assert head.tolist() == [[1, 0, 0, 0, 0]]
    assert mask.tolist() == [[True, False, False, False, False]]


def test_a_text_of_function_words_still_has_a_phrase():
  ids = jnp.array([[2, 6, 10, 3, 0]])
  content = word_map.content_tokens(ids, ids > 0, FUNCTION)
  assert content.tolist() == [[False, True, True, False, False]]


def phrase_vectors(ids, place_bound=0.0):
  """Vectors of a random module that has already learned a slope."""
  cfg, _ = small_config()
  cfg = dataclasses.replace(cfg.word_map, place_bound=place_bound)
  module = word_map.Phrases(cfg, jnp.float32)
  table = jax.random.normal(jax.random.key(1), (20, 16))
  content = word_map.content_tokens(ids, ids > 0, FUNCTION)
  inputs = table[ids], content, word_map.inner_tokens(ids > 0)
  params = module.init(jax.random.key(0), *inputs)
  if place_bound:
    out = params["params"]["place_out"]
    assert not out["kernel"].any()  # no slope before training
    out["kernel"] = jax.random.normal(jax.random.key(2), out["kernel"].shape)
  return module.apply(params, *inputs)["vectors"]


def test_a_phrase_vector_reads_its_own_words_only():
  base = phrase_vectors(IDS)
  other_noun_phrase = phrase_vectors(IDS.at[0, 6].set(13))
  np.testing.assert_allclose(other_noun_phrase[0, 0], base[0, 0], atol=1e-6)
  assert jnp.abs(other_noun_phrase[0, 1] - base[0, 1]).max() > 1e-2
  adjective = phrase_vectors(IDS.at[0, 3].set(13))
  assert jnp.abs(adjective[0, 0] - base[0, 0]).max() > 1e-2
  # "and" lies between the phrases and in the window of the second.
  conjunction = phrase_vectors(IDS.at[0, 5].set(6))
  np.testing.assert_allclose(conjunction, base, atol=1e-6)


def test_words_around_a_phrase_slope_its_place_and_no_more():
  alone = jnp.array([[2, 8, 9, 3, 0, 0, 0, 0, 0, 0]])
  np.testing.assert_array_equal(phrase_vectors(alone, 0.3)[0, 0, -2:], 0.0)
  base, other = (phrase_vectors(ids, 0.3) for ids in (IDS, IDS.at[0, 5].set(6)))
  np.testing.assert_allclose(base[..., :-2], other[..., :-2], atol=1e-6)
  changed = jnp.abs(base[0, :2, -2:] - other[0, :2, -2:]).max(-1)
  assert (changed > 1e-3).all()  # "and" stands near both
  slope = jnp.abs(base[0, :2, -2:])
  assert ((slope > 0) & (slope <= 0.3)).all()


def test_a_slope_moves_the_maximum_to_the_side_that_is_told():
  cells = word_map.with_places(jnp.ones((1, 2, 4, 1)))
  left = jnp.array([1.0, -0.3, 0.0])  # cosine 1, falls by .6 from left to right
  similarity = (cells @ left)[0]
  np.testing.assert_allclose(similarity[:, 0], 1 + 0.3 * 0.75, rtol=1e-6)
  np.testing.assert_allclose(similarity[:, 3], 1 - 0.3 * 0.75, rtol=1e-6)
  below = jnp.array([1.0, 0.0, 0.3])
  np.testing.assert_allclose((cells @ below)[0, 1], 1 + 0.3 * 0.5, rtol=1e-6)


def test_a_slope_chooses_between_like_objects_and_leaves_their_outline():
  # Two equal objects of two cells each, on dark ground.
  maps = (
    jnp.zeros((1, 4, 8, 1)).at[0, 1:3, 1:3].set(0.5).at[0, 1:3, 5:7].set(0.5)
  )
  left = word_map.relative(maps, maps, jnp.array([[[-0.3, 0.0]]]))[0, ..., 0]
  assert jnp.max(left) == 1.0 and left[1, 1] == 1.0
  assert left[1, 5] < 0.6 and left[1, 2] > 0.8
  np.testing.assert_array_equal(left[0], 0.0)  # the ground stays dark
  level = word_map.relative(maps, maps, jnp.zeros((1, 1, 2)))
  np.testing.assert_allclose(level, word_map.relative(maps, maps), rtol=1e-6)
  flat = word_map.relative(0 * maps, 0 * maps, jnp.array([[[0.3, 0.3]]]))
  assert np.isfinite(flat).all()


def test_all_padding_gives_no_phrase_and_no_nan():
  ids = jnp.zeros((1, 6), jnp.int32)
  vectors = phrase_vectors(ids)
  np.testing.assert_array_equal(vectors, 0.0)


def test_relative_maps_run_from_median_to_maximum():
  maps = jnp.arange(9.0).reshape(1, 3, 3, 1)
  scaled = word_map.relative(maps, maps)[0, ..., 0].ravel()
  np.testing.assert_allclose(scaled[4], 0.0, atol=1e-6)
  np.testing.assert_allclose(scaled[8], 1.0, rtol=1e-6)
  flat = jnp.ones((1, 3, 3, 1))
  np.testing.assert_array_equal(word_map.relative(flat, flat), 0.0)


def test_a_place_is_left_to_the_phrase_that_answers_it_best():
  # "yellow star" half lights the yellow circle that "yellow circle" names.
  star, circle = jnp.array([1.0, 0.5]), jnp.array([0.2, 1.0])
  maps = jnp.stack([star, circle], -1).reshape(1, 1, 2, 2)
  both = jnp.array([[True, True]])
  found = word_map.compete(maps, both, 3.0)[0, 0]
  np.testing.assert_allclose(found[:, 0], [1.0, 0.5 * np.exp(-1.5)], rtol=1e-5)
  np.testing.assert_allclose(found[:, 1], [0.2 * np.exp(-2.4), 1], rtol=1e-5)
  alone = word_map.compete(maps, jnp.array([[True, False]]), 3.0)
  np.testing.assert_allclose(alone[..., 0], maps[..., 0])
  none = word_map.compete(maps, jnp.array([[False, False]]), 3.0)
  assert np.isfinite(none).all()
  np.testing.assert_array_equal(word_map.compete(maps, both, 0.0), maps)


def test_the_box_with_the_peak_beats_one_that_fits_a_half_right_object():
  maps = jnp.zeros((1, 8, 8, 1))
  maps = maps.at[0, 0:2, 0:2].set(1.0).at[0, 4:8, 4:8].set(0.6)
  boxes = jnp.array([[[0.125, 0.125, 0.25, 0.25], [0.75, 0.75, 0.5, 0.5]]])
  extent = (maps > 0.3).astype(jnp.float32)
  small, large = word_map.soft_iou(extent, boxes)[0, :, 0]
  assert large > small
  share = word_map.peak_share(maps, boxes, 15.0)[0, :, 0]
  assert share[0] * small > share[1] * large
  even = word_map.peak_share(maps, boxes, 0.0)[0, :, 0]
  np.testing.assert_allclose(even, [4 / 64, 16 / 64], rtol=1e-5)


def test_soft_iou_is_iou_on_hard_masks():
  extent = jnp.zeros((1, 8, 8, 1)).at[0, 2:6, 0:4, 0].set(1.0)
  boxes = jnp.array([[[0.25, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]])
  found = word_map.soft_iou(extent, boxes)[0, :, 0]
  np.testing.assert_allclose(found, [1.0, 8 / 24], rtol=1e-5)
