import jax.numpy as jnp
import numpy as np

from slan_jax.objective import phrases


def test_soft_maximum_lies_between_mean_and_maximum():
  values = jnp.array([0.0, 0.5, 1.0])
  np.testing.assert_allclose(phrases.soft_maximum(values, 0.0), 0.5)
  np.testing.assert_allclose(phrases.soft_maximum(values, 100.0), 1.0)


def test_binding_needs_both_words_at_one_place():
  # Cells: red circle, blue square. The phrase vector asks for both words.
  maps = jnp.array([[[1.0, 1.0, 0, 0], [0, 0, 1.0, 1.0]]]) / 2**0.5
  bound = jnp.array([[[1.0, 1.0, 0, 0]]]) / 2**0.5  # red circle
  unbound = jnp.array([[[1.0, 0, 0, 1.0]]]) / 2**0.5  # red square
  mask = jnp.ones((1, 1), bool)
  found = phrases.caption_scores(maps, bound, mask, sharpness=50.0)
  absent = phrases.caption_scores(maps, unbound, mask, sharpness=50.0)
  np.testing.assert_allclose(found, 1.0, atol=1e-5)
  np.testing.assert_allclose(absent, 0.5, atol=1e-5)


def test_masked_phrases_do_not_count_and_own_scores_are_the_diagonal():
  maps = jnp.array(np.random.default_rng(0).normal(size=(2, 3, 4)))
  vectors = jnp.array(np.random.default_rng(1).normal(size=(2, 2, 4)))
  mask = jnp.array([[True, False], [True, True]])
  every = phrases.caption_scores(maps, vectors, mask, sharpness=3.0)
  own = phrases.own_caption_scores(maps, vectors[:, None], mask[:, None],
                                   sharpness=3.0)  # fmt: skip
  np.testing.assert_allclose(own[:, 0], jnp.diagonal(every), rtol=1e-5)
  altered = phrases.caption_scores(
    maps, vectors.at[0, 1].set(9.0), mask, sharpness=3.0
  )
  np.testing.assert_allclose(altered, every, rtol=1e-6)


def test_loss_by_hand_with_a_swapped_caption():
  scores = jnp.array([[1.0, 0.0], [0.0, 1.0]])
  negatives = jnp.array([[0.5], [0.0]])
  exists = jnp.array([[True], [False]])
  loss, count = phrases.phrase_loss(
    scores,
    negatives,
    scale=2.0,
    same_text=jnp.eye(2, dtype=bool),
    negatives_mask=exists,
  )
  plain = np.log(np.exp(2.0) + 1.0) - 2.0
  harder = np.log(np.exp(2.0) + 1.0 + np.exp(1.0)) - 2.0
  np.testing.assert_allclose(loss, harder + 3 * plain, rtol=1e-5)
  assert count == 2


def test_equal_captions_are_no_negatives():
  loss, _ = phrases.phrase_loss(
    jnp.ones((2, 2)),
    jnp.zeros((2, 0)),
    scale=10.0,
    same_text=jnp.ones((2, 2), bool),
    negatives_mask=jnp.zeros((2, 0), bool),
  )
  np.testing.assert_allclose(loss, 0.0, atol=1e-6)
