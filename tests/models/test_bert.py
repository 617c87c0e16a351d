"""Text encoder, cached decoder and tied head: sizes and who sees whom."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from slan_jax.models import bert, config
from tests.models import shapes

BASE = config.Text(30522, 12, 12, 3072, 512, ())
BASE_WRITER = config.Generator(12, 12, 3072)
TEXT = config.Text(20, 2, 2, 24, 12, ())
WRITER = config.Generator(2, 2, 24)
WIDTH, LENGTH = 16, 7


@functools.cache
def inputs() -> tuple[np.ndarray, ...]:
  """Words with their mask, and padded states with theirs."""
  rng = np.random.default_rng(0)
  ids = rng.integers(0, 20, (2, LENGTH), dtype=np.int32)
  mask = np.ones((2, LENGTH), bool)
  mask[1, 4:] = False
  states = rng.normal(size=(2, 5, WIDTH)).astype("float32")
  states_mask = np.ones((2, 5), bool)
  states_mask[0, 2:] = False
  return ids, mask, states, states_mask


def encoder(dtype=jnp.float32) -> bert.BertEncoder:
  return bert.BertEncoder(TEXT, WIDTH, dtype, "none")


def decoder() -> bert.BertDecoder:
  return bert.BertDecoder(TEXT, WRITER, WIDTH, jnp.float32, "none")


@functools.cache
def decoder_params():
  ids, _, states, states_mask = inputs()
  return shapes.filled(
    decoder(), ids, np.ones_like(ids, bool), states, states_mask
  )


run_decoder = jax.jit(decoder().apply)


def test_totals_of_bert_base():
  """108.892 M, 137.258 M and .623 M (without the tied table)."""
  ids, mask = jnp.zeros((1, 4), int), jnp.ones((1, 4), bool)
  states = jnp.zeros((1, 3, 768))
  plain = 768, jnp.bfloat16, "full"
  words = shapes.parameters(bert.BertEncoder(BASE, *plain), ids, mask)
  assert shapes.millions(words) == 108.892
  writer = bert.BertDecoder(BASE, BASE_WRITER, *plain)
  tree = shapes.parameters(writer, ids, mask, states, mask[:, :3])
  assert shapes.millions(tree) == 137.258
  head = bert.LanguageHead(jnp.bfloat16)
  tree = shapes.parameters(head, states, words["embeddings"]["word"])
  assert shapes.millions(tree) == 0.623


def test_padding_has_no_influence():
  """Other words behind the mask change nothing before it."""
  ids, mask, *_ = inputs()
  other = np.where(mask, ids, (ids + 3) % 20)
  params = shapes.filled(encoder(), ids, mask)
  run = jax.jit(encoder().apply)
  ours, theirs = run(params, ids, mask), run(params, other, mask)
  assert ours.shape == (2, LENGTH, WIDTH)
  np.testing.assert_array_equal(ours[mask], theirs[mask])
  longer = run(params, ids, np.ones_like(mask))
  assert np.abs(longer - ours)[1, :4].max() > 1e-3  # but the mask does


def test_decoder_sees_no_later_word():
  """Changing word 4 changes outputs from 4 on, none before."""
  ids, _, states, states_mask = inputs()
  mask = np.ones_like(ids, bool)
  other = ids.copy()
  other[:, 4] = (other[:, 4] + 1) % 20
  before = run_decoder(decoder_params(), ids, mask, states, states_mask)
  after = run_decoder(decoder_params(), other, mask, states, states_mask)
  changed = np.abs(before - after).max((0, 2))
  assert (changed[:4] == 0).all()
  assert (changed[4:] > 1e-4).all()


def test_decoder_sees_real_states_only():
  ids, mask, states, states_mask = inputs()
  before = run_decoder(decoder_params(), ids, mask, states, states_mask)
  hidden = np.where(states_mask[..., None], states, 9.0)
  after = run_decoder(decoder_params(), ids, mask, hidden, states_mask)
  np.testing.assert_array_equal(before, after)
  moved = run_decoder(decoder_params(), ids, mask, states + 1, states_mask)
  assert np.abs(before - moved).max() > 1e-3


@pytest.mark.parametrize("sizes", [(1,) * LENGTH, (3, 2, 2)])
def test_cached_decoding_equals_the_full_pass(sizes: tuple[int, ...]):
  """A prompt and then words, a few at a time, in a longer cache."""
  ids, _, states, states_mask = inputs()
  module, params = decoder(), decoder_params()
  full = run_decoder(params, ids, np.ones_like(ids, bool), states, states_mask)
  ends = np.cumsum(sizes)
  start = jax.jit(functools.partial(module.apply, longest=9, method="start"))
  step = jax.jit(functools.partial(module.apply, method="step"))
  out, cache = start(params, ids[:, : ends[0]], states, states_mask)
  parts = [out]
  for begin, end in itertools.pairwise(ends):
    out, cache = step(params, ids[:, begin:end], cache)
    parts.append(out)
  np.testing.assert_allclose(np.concatenate(parts, 1), full, atol=1e-5)
  assert cache["index"] == LENGTH
  assert cache["layers"]["key"].shape == (2, 2, 9, WIDTH)
  assert cache["layers"]["states_key"].shape == (2, 2, 5, WIDTH)


def test_more_tokens_than_positions_are_refused():
  ids, _, states, states_mask = inputs()
  start = functools.partial(decoder().apply, longest=13, method="start")
  with pytest.raises(ValueError, match=r"13 tokens .*max_positions is 12"):
    jax.eval_shape(start, decoder_params(), ids, states, states_mask)


def test_language_head_is_tied_and_exact():
  """The logits are W LN(gelu(A x + a)) + b with the word table as W."""
  table = np.random.default_rng(1).normal(size=(20, WIDTH)).astype("float32")
  x = inputs()[2]
  head = bert.LanguageHead(jnp.float32)
  params = shapes.filled(head, x, table)
  own = params["params"]
  hidden = x @ own["dense"]["kernel"] + own["dense"]["bias"]
  hidden = torch.nn.functional.gelu(torch.tensor(hidden)).numpy()
  hidden = hidden - hidden.mean(-1, keepdims=True)
  hidden = hidden / np.sqrt((hidden**2).mean(-1, keepdims=True))
  hidden = hidden * own["norm"]["scale"] + own["norm"]["bias"]
  logits = head.apply(params, x, table)
  np.testing.assert_allclose(logits, hidden @ table.T + own["bias"], atol=1e-4)


def test_bfloat16_activations_and_float32_logits():
  ids, mask, *_ = inputs()
  module = encoder(jnp.bfloat16)
  tree = shapes.parameters(module, ids, mask)
  assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {
    jnp.dtype("float32")
  }
  words = jax.eval_shape(module.apply, {"params": tree}, ids, mask)
  assert words.dtype == jnp.bfloat16
  head = bert.LanguageHead(jnp.bfloat16)
  table = tree["embeddings"]["word"]
  logits = jax.eval_shape(
    lambda x, t: head.init_with_output(jax.random.key(0), x, t)[0], words, table
  )
  assert logits.dtype == jnp.float32


def test_word_table_and_initial_spread():
  """BERT's .02 at width 768, in proportion at other widths."""
  ids, mask, *_ = inputs()
  params = jax.jit(encoder().init)(jax.random.key(0), ids, mask)
  table = encoder().apply(params, method="table")
  np.testing.assert_array_equal(table, params["params"]["embeddings"]["word"])
  wanted = 0.02 * (768 / WIDTH) ** 0.5
  np.testing.assert_allclose(np.std(table), wanted, rtol=0.15)
