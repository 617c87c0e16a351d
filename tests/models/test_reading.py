"""Words read the map at their phrases, and regions inside their boxes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.models.reading import WordReading, phrase_tokens
from slan_jax.models.slan import Slan
from tests.models.small import LENGTH, small_config

# [CLS] a small red circle and a star [SEP]: phrases of three words and of one.
PHRASES = {
  "head": jnp.array([[4, 7]]),
  "length": jnp.array([[3, 1]]),
  "mask": jnp.array([[True, True]]),
}
WORDS = 9
PAIR = (
  jax.random.randint(jax.random.key(3), (2, 32, 32, 3), 0, 256).astype("uint8"),
  jnp.full((2, LENGTH), 7),
  jnp.ones((2, LENGTH), bool),
)


def read(cells, peak, cosine=None, phrases=PHRASES):
  """What a random module reads: [B, N, D]."""
  module = WordReading(16, 50.0, jnp.float32)
  cosine = peak if cosine is None else cosine
  inputs = cells, cosine, peak, phrases, WORDS
  params = module.init(jax.random.key(0), *inputs)
  return module.apply(params, *inputs)


def peaks(*places):
  """A map [1, 4, 4, P] with one peak for each phrase, at (row, column)."""
  maps = np.zeros((1, 4, 4, len(places)), np.float32)
  for phrase, (row, column) in enumerate(places):
    maps[0, row, column, phrase] = 1.0
  return jnp.asarray(maps)


def test_a_phrase_consists_of_its_head_and_the_words_before():
  tokens = phrase_tokens(PHRASES, WORDS)[0]
  assert [list(np.flatnonzero(row)) for row in tokens] == [[2, 3, 4], [7]]
  absent = PHRASES | {"mask": jnp.array([[True, False]])}
  assert not phrase_tokens(absent, WORDS)[0, 1].any()


def test_words_of_a_phrase_read_its_place_and_no_other():
  cells = jax.random.normal(jax.random.key(1), (1, 4, 4, 8))
  peak = peaks((0, 1), (3, 2))
  base = read(cells, peak)[0]
  other = read(cells.at[0, 0, 1, 0].add(1.0), peak)[0]
  changed = jnp.abs(other - base).max(-1) > 1e-3
  assert list(np.flatnonzero(changed)) == [2, 3, 4]
  assert not jnp.any(base[jnp.array([0, 1, 5, 6, 8])])  # words of no phrase
  elsewhere = read(cells.at[0, 2, 2, 0].add(1.0), peak)[0]
  np.testing.assert_allclose(elsewhere, base, atol=1e-5)


def test_words_read_where_the_place_is_and_how_surely():
  same = jnp.tile(jnp.arange(8.0), (1, 4, 4, 1))  # looks alike everywhere
  top, below = (read(same, peaks(at, (0, 0)))[0, 4] for at in ((0, 1), (3, 1)))
  assert jnp.abs(top - below).max() > 1e-2
  peak = peaks((0, 1), (3, 2))
  sure, unsure = (read(same, peak, by * peak)[0, 4] for by in (1.0, 0.1))
  assert jnp.abs(sure - unsure).max() > 1e-2


def test_nothing_that_is_read_bends_the_map():
  def total(cells, peak):
    return jnp.sum(jnp.square(read(cells, peak)))

  cells = jax.random.normal(jax.random.key(1), (1, 4, 4, 8))
  for gradient in jax.grad(total, (0, 1))(cells, peaks((0, 1), (3, 2))):
    assert not jnp.any(gradient)


def test_the_model_reads_only_where_it_is_told_to():
  def names(sharpness):
    cfg, _ = small_config(model__word_map__read_sharpness=sharpness)
    shapes = jax.eval_shape(Slan(cfg).init, jax.random.key(0), *PAIR)
    paths = jax.tree_util.tree_leaves_with_path(shapes)
    return {jax.tree_util.keystr(path) for path, _ in paths}

  added = names(10.0) - names(0.0)
  assert added and all("reading" in name for name in added)
  parts = {name.split("']['")[1] for name in added}
  assert parts == {"region_reading", "word_reading", "locator"}


def test_itc_alone_reads_as_the_whole_model_does():
  model = Slan(small_config()[0])
  params = jax.jit(model.init)(jax.random.key(0), *PAIR)
  apply = functools.partial(model.apply, params)
  image = apply(PAIR[0], method="encode_image")
  alone = apply(PAIR[0], method="embed_image")
  np.testing.assert_allclose(alone, image.embedding, atol=1e-6)
  # What the levels add up ends in a norm.
  text = apply(*PAIR[1:], method="encode_text")
  located = apply(image, text, method="locate")
  for states in (located.words, located.regions):
    np.testing.assert_allclose(jnp.mean(states, -1), 0.0, atol=1e-5)
    np.testing.assert_allclose(jnp.std(states, -1), 1.0, atol=1e-3)


def test_nothing_is_read_where_there_is_no_map():
  cfg, _ = small_config(
    "scenes,preset=paper", model__word_map__read_sharpness=10.0
  )
  params = jax.eval_shape(Slan(cfg).init, jax.random.key(0), *PAIR)
  assert "reading" not in str(jax.tree.structure(params))
  embed = functools.partial(Slan(cfg).apply, method="embed_image")
  assert jax.eval_shape(embed, params, PAIR[0]).shape[0] == 2
