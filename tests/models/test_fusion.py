import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models.fusion import FORMS, Fusion


def inputs():
  keys = jax.random.split(jax.random.key(0), 2)
  regions = jax.random.normal(keys[0], (2, 3, 8))
  words = jax.random.normal(keys[1], (2, 5, 8))
  region_mask = jnp.array([[True, True, False], [True, True, True]])
  word_mask = jnp.arange(5)[None] < jnp.array([[3], [5]])
  return regions, words, region_mask, word_mask


def fused(form, *arguments):
  module = Fusion(form, 2, jnp.float32)
  params = module.init(jax.random.key(1), *arguments)
  return module.apply(params, *arguments), params


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form):
  regions, words, region_mask, word_mask = inputs()
  (new_regions, new_words), _ = fused(
    form, regions, words, region_mask, word_mask
  )
  noise = 100 * jnp.ones_like(regions)
  regions = jnp.where(region_mask[..., None], regions, noise)
  words = jnp.where(word_mask[..., None], words, 100.0)
  (again, words_again), _ = fused(form, regions, words, region_mask, word_mask)
  real = np.asarray(region_mask)
  np.testing.assert_allclose(again[real], new_regions[real], atol=1e-5)
  real = np.asarray(word_mask)
  np.testing.assert_allclose(words_again[real], new_words[real], atol=1e-5)


def test_literal_form_is_convex_mixing_without_parameters():
  regions, words, region_mask, _ = inputs()
  one = jnp.arange(5)[None] < 1
  (mixed, _), params = fused(
    "literal", regions, words, region_mask, jnp.repeat(one, 2, 0)
  )
  assert not jax.tree.leaves(params)
  expected = jnp.broadcast_to(words[:, :1], mixed.shape)
  np.testing.assert_allclose(mixed, expected, rtol=1e-5)


def test_bi_mha_starts_as_almost_identity():
  regions, words, region_mask, word_mask = inputs()
  (new_regions, new_words), _ = fused(
    "bi_mha", regions, words, region_mask, word_mask
  )
  np.testing.assert_allclose(new_regions, regions, atol=1e-2)
  np.testing.assert_allclose(new_words, words, atol=1e-2)
  assert jnp.abs(new_regions - regions).max() > 0


@pytest.mark.parametrize("form", FORMS)
def test_text_without_words_gives_no_nan(form):
  regions, words, region_mask, word_mask = inputs()
  none = jnp.zeros_like(word_mask)

  def total(regions, words):
    (a, b), _ = fused(form, regions, words, region_mask, none)
    return a.sum() + b.sum()

  gradients = jax.grad(total, argnums=(0, 1))(regions, words)
  assert all(bool(jnp.isfinite(g).all()) for g in gradients)


def test_unknown_form_is_named():
  with pytest.raises(ValueError, match=r"model.adaptor.fusion.*'none'"):
    fused("none", *inputs())
