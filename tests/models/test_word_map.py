import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.models import word_map
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


def test_a_text_of_function_words_still_has_a_phrase():
  ids = jnp.array([[2, 6, 10, 3, 0]])
  content = word_map.content_tokens(ids, ids > 0, FUNCTION)
  assert content.tolist() == [[False, True, True, False, False]]


def phrase_vectors(ids):
  cfg, _ = small_config()
  module = word_map.Phrases(cfg.word_map, jnp.float32)
  table = jax.random.normal(jax.random.key(1), (20, 16))
  content = word_map.content_tokens(ids, ids > 0, FUNCTION)
  params = module.init(jax.random.key(0), table[ids], content)
  return module.apply(params, table[ids], content)["vectors"]


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


def test_all_padding_gives_no_phrase_and_no_nan():
  ids = jnp.zeros((1, 6), jnp.int32)
  vectors = phrase_vectors(ids)
  np.testing.assert_array_equal(vectors, 0.0)


def test_affinity_spreads_a_peak_over_its_object_only():
  # Left half red, right half blue; one coarse cell of the left half lit.
  image = np.zeros((1, 32, 32, 3), np.float32)
  image[:, :, :16, 0] = image[:, :, 16:, 2] = 1.0
  fine = word_map.appearance(jnp.array(image), 16)
  coarse = word_map.appearance(jnp.array(image), 8)
  options = {"window": 15, "scale": 60.0, "distance": 1.0}
  peak = jnp.zeros((1, 8, 8, 1)).at[0, 4, 2].set(1.0)
  spread = word_map.spread(peak, fine, coarse, **options)[0, ..., 0]
  assert spread[:, :7].min() > 1e-3
  assert spread[:, 9:].max() < 1e-6
  flat = word_map.spread(jnp.ones((1, 8, 8, 1)), fine, coarse, **options)
  np.testing.assert_allclose(flat, 1.0, rtol=1e-5)


def test_spreading_equals_a_loop_over_cells():
  rng = np.random.default_rng(0)
  maps = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
  fine = rng.uniform(size=(1, 8, 8, 3)).astype(np.float32)
  coarse = rng.uniform(size=(1, 4, 4, 3)).astype(np.float32)
  found = word_map.spread(
    jnp.array(maps), fine, coarse, window=3, scale=2.0, distance=5.0
  )
  expected = np.zeros((8, 8, 2))
  for y, x in np.ndindex(8, 8):
    total = 0.0
    for i, j in np.ndindex(4, 4):
      if max(abs(i - y // 2), abs(j - x // 2)) > 1:
        continue
      unlike = np.square(fine[0, y, x] - coarse[0, i, j]).sum()
      dy, dx = (y + 0.5) / 4 - (i + 0.5) / 2, (x + 0.5) / 4 - (j + 0.5) / 2
      weight = np.exp(-2.0 * unlike - 5.0 * (dy**2 + dx**2))
      total += weight
      expected[y, x] += weight * maps[0, i, j]
    expected[y, x] /= total
  np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


def test_relative_maps_run_from_median_to_maximum():
  maps = jnp.arange(9.0).reshape(1, 3, 3, 1)
  scaled = word_map.relative(maps, maps)[0, ..., 0].ravel()
  np.testing.assert_allclose(scaled[4], 0.0, atol=1e-6)
  np.testing.assert_allclose(scaled[8], 1.0, rtol=1e-6)
  flat = jnp.ones((1, 3, 3, 1))
  np.testing.assert_array_equal(word_map.relative(flat, flat), 0.0)


def test_soft_iou_is_iou_on_hard_masks():
  extent = jnp.zeros((1, 8, 8, 1)).at[0, 2:6, 0:4, 0].set(1.0)
  boxes = jnp.array([[[0.25, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]])
  found = word_map.soft_iou(extent, boxes)[0, :, 0]
  np.testing.assert_allclose(found, [1.0, 8 / 24], rtol=1e-5)
