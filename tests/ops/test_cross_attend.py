import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.ops import cross_attend as ops

cross_attend = jax.jit(ops.cross_attend, static_argnames="heads")

rng = np.random.default_rng(5)
REGIONS = jnp.asarray(rng.normal(size=(2, 3, 8)), jnp.float32)
WORDS = jnp.asarray(rng.normal(size=(2, 4, 8)), jnp.float32)
ALL_REGIONS, ALL_WORDS = jnp.ones((2, 3), bool), jnp.ones((2, 4), bool)


def test_equation_1_by_hand():
  """D = 1, so that Attn is the plain product; scores are logs of integers."""
  regions = jnp.array([[[1.0], [2.0]]])
  words = jnp.log(jnp.array([[[2.0], [3.0]]]))
  masks = jnp.ones((1, 2), bool)
  new_regions, new_words = cross_attend(regions, words, masks, masks, heads=1)
  two, three = np.log(2), np.log(3)
  # Region 1 scores the words log 2, log 3; region 2 twice that: 4 to 9.
  expected = [(2 * two + 3 * three) / 5, (4 * two + 9 * three) / 13]
  np.testing.assert_allclose(new_regions[0, :, 0], expected, rtol=1e-5)
  # Word 1 weighs regions 1 and 2 as 2 to 4, word 2 as 3 to 9.
  expected = [(2 * 1 + 4 * 2) / 6, (3 * 1 + 9 * 2) / 12]
  np.testing.assert_allclose(new_words[0, :, 0], expected, rtol=1e-5)


def test_scale_is_the_root_of_a_head():
  """Two heads of 4 channels: each half on its own, divided by 2."""
  both = cross_attend(REGIONS, WORDS, ALL_REGIONS, ALL_WORDS, heads=2)
  for half in (slice(0, 4), slice(4, 8)):
    regions, words = (
      np.asarray(REGIONS)[..., half],
      np.asarray(WORDS)[..., half],
    )
    scores = np.exp(np.einsum("brd,btd->brt", regions, words) / 2)
    to_words = scores / scores.sum(axis=-1, keepdims=True)
    to_regions = scores / scores.sum(axis=-2, keepdims=True)
    np.testing.assert_allclose(both[0][..., half], to_words @ words, rtol=1e-4)
    np.testing.assert_allclose(
      both[1][..., half], to_regions.swapaxes(1, 2) @ regions, rtol=1e-4
    )


def test_masked_rows_take_no_part():
  """Changing a padded word or a dropped region changes nothing else."""
  region_mask = ALL_REGIONS.at[:, 2].set(False)
  word_mask = ALL_WORDS.at[:, 3].set(False)
  new_regions, new_words = cross_attend(
    REGIONS, WORDS, region_mask, word_mask, heads=2
  )
  other_regions, other_words = cross_attend(
    REGIONS.at[:, 2].set(9.0),
    WORDS.at[:, 3].set(-9.0),
    region_mask,
    word_mask,
    heads=2,
  )
  np.testing.assert_allclose(new_regions[:, :2], other_regions[:, :2])
  np.testing.assert_allclose(new_words[:, :3], other_words[:, :3])


def test_nothing_to_attend_to_gives_zeros_and_finite_gradients():
  no_words = ALL_WORDS.at[0].set(False)
  no_regions = ALL_REGIONS.at[1].set(False)

  def total(regions, words):
    outputs = cross_attend(regions, words, no_regions, no_words, heads=2)
    return sum(x.sum() for x in outputs), outputs

  gradients, (new_regions, new_words) = jax.grad(total, (0, 1), has_aux=True)(
    REGIONS, WORDS
  )
  assert not new_regions[0].any() and new_regions[1].any()
  assert not new_words[1].any() and new_words[0].any()
  assert all(bool(jnp.isfinite(x).all()) for x in gradients)


def test_one_word_and_one_region_swap_places():
  one = jnp.ones((2, 1), bool)
  new_regions, new_words = cross_attend(
    REGIONS[:, :1], WORDS[:, :1], one, one, heads=1
  )
  np.testing.assert_allclose(new_regions, WORDS[:, :1], rtol=1e-6)
  np.testing.assert_allclose(new_words, REGIONS[:, :1], rtol=1e-6)


def test_large_scores_do_not_overflow():
  new_regions, _ = cross_attend(
    REGIONS * 1e4, WORDS * 1e4, ALL_REGIONS, ALL_WORDS, heads=1
  )
  assert bool(jnp.isfinite(new_regions).all())


def test_compute_dtype_is_kept():
  outputs = cross_attend(
    REGIONS.astype(jnp.bfloat16),
    WORDS.astype(jnp.bfloat16),
    ALL_REGIONS,
    ALL_WORDS,
    heads=2,
  )
  assert all(x.dtype == jnp.bfloat16 for x in outputs)


def test_heads_must_divide_the_width():
  with pytest.raises(ValueError, match="heads=3"):
    cross_attend(REGIONS, WORDS, ALL_REGIONS, ALL_WORDS, heads=3)
