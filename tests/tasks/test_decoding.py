"""Writing with a cache, against a search that reads everything each time."""

import dataclasses
import itertools
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.evaluation.evaluator import Batching
from slan_jax.evaluation.writing import (
  Questions,
  answer_questions,
  write_captions,
)
from slan_jax.tasks import captioning, decoding, vqa
from slan_jax.tasks.config import Captioning, Marks, Vqa, Writing
from tests.slan_torch import pair

MARKS = Marks(**pair.TOKENS)
WORDS, PLACES = 9, 8  # of the vocabulary; of a cache


class Decoder(NamedTuple):
  """Stands for the model: logits are a random function of all tokens so far.

  The cache holds the tokens as keys, and what is looked at as values of the
  states, so that a beam with another beam's cache would write other words.
  """

  table: jax.Array  # [PLACES, WORDS, WORDS], by place and token

  def apply(self, variables, ids, *rest, method, longest=None):
    del variables
    if method == "start_text":
      states, mask = rest
      zero = jnp.zeros((1, len(ids), longest, 1))
      look = states[None]
      layers = {"key": zero, "value": zero, "states_key": look,
                "states_value": look}  # fmt: skip
      cache = {"layers": layers, "states_mask": mask, "index": 0}
    else:
      (cache,) = rest
    index, layers = cache["index"], cache["layers"]
    kept = jax.lax.dynamic_update_slice_in_dim(
      layers["key"], ids[None, ..., None] + 1.0, index, axis=2
    )
    layers = layers | {"key": kept}
    logits = self.logits(kept[0, ..., 0], layers["states_key"][0])
    logits = jnp.broadcast_to(logits[:, None], (*ids.shape, WORDS))
    index += ids.shape[1]
    return logits, cache | {"layers": layers, "index": index}

  def logits(self, tokens, states):
    """Of the token behind `tokens`, counted from 1; 0 = nothing there."""
    # Where there is nothing, zeros.
    hot = jax.nn.one_hot(tokens.astype(int) - 1, WORDS)
    places = self.table[: tokens.shape[1]]
    return jnp.einsum("btv,tvw->bw", hot, places) + jnp.sum(states, axis=1)


@pytest.fixture(scope="module")
def decoder():
  rng = np.random.default_rng(0)
  return Decoder(jnp.float32(rng.normal(size=(PLACES, WORDS, WORDS)) * 1.5))


STATES = np.random.default_rng(1).normal(size=(3, 2, WORDS)).astype("float32")
PROMPT = np.array([[2, 5]] * 3, np.int32)


def program(decoder, options):
  """A compiled writer: seed -> `decoding.Text` of every row."""

  @jax.jit
  def run(seed):
    return decoding.write(
      decoder,
      {},
      PROMPT,
      STATES,
      jnp.ones(STATES.shape[:2], bool),
      marks=MARKS,
      options=options,
      keys=decoding.row_keys(len(PROMPT) * seed + jnp.arange(len(PROMPT))),
    )

  return run


def next_log_p(decoder, options, row, written):
  """Log probabilities [V] after the prompt and `written`, from the start."""
  tokens = [*PROMPT[row], *written]
  line = np.zeros((1, PLACES))
  line[0, : len(tokens)] = np.array(tokens) + 1
  logits = np.array(decoder.logits(jnp.float32(line), STATES[row : row + 1]))[0]
  for token in set(tokens):
    penalty = options.repetition_penalty
    logits[token] *= 1 / penalty if logits[token] > 0 else penalty
  logits[[MARKS.pad, MARKS.cls, MARKS.unk, MARKS.mask]] = -np.inf
  if len(written) < options.shortest:
    logits[MARKS.sep] = -np.inf
  return logits - np.log(np.sum(np.exp(logits)))


def search(decoder, options, row):
  """Beam search in plain Python, without a cache: (tokens, score)."""
  beams = [((), 0.0, False)]
  for _ in range(options.longest):
    grown = []
    for tokens, total, ended in beams:
      if ended:
        grown.append((tokens, total, True))
        continue
      for token, gain in enumerate(next_log_p(decoder, options, row, tokens)):
        if np.isfinite(gain):
          end = token == MARKS.sep
          grown.append(((*tokens, token), total + gain, end))
    beams = sorted(grown, key=lambda beam: -beam[1])[: options.beams]
  tokens, total, _ = max(beams, key=lambda beam: beam[1] / len(beam[0]))
  return [t for t in tokens if t != MARKS.sep], total / len(tokens)


@pytest.mark.parametrize(
  "beams, shortest, penalty", [(1, 0, 1.0), (3, 1, 1.0), (4, 3, 1.7)]
)
def test_beams_equal_a_search_without_a_cache(
  decoder, beams, shortest, penalty
):
  options = Writing("beam", beams, 0.9, shortest, 5, penalty)
  found = program(decoder, options)(0)
  for row in range(len(PROMPT)):
    tokens, score = search(decoder, options, row)
    padded = tokens + [MARKS.pad] * (options.longest - len(tokens))
    assert found.tokens[row].tolist() == padded
    np.testing.assert_allclose(found.score[row], score, rtol=1e-4)


def test_nucleus_draws_from_the_smallest_set_that_is_likely_enough(decoder):
  options = Writing("nucleus", 1, 0.6, 0, 2, 1.0)
  run, drawn = program(decoder, options), set()
  for seed in range(40):
    drawn |= set(enumerate(map(tuple, run(seed).tokens.tolist())))
  allowed = set()
  for row in range(len(PROMPT)):
    for text in itertools.product(range(WORDS), repeat=2):
      if _inside(decoder, options, row, text):
        allowed.add((row, _shown(text)))
  assert drawn <= allowed
  assert len(drawn) > len(PROMPT)  # it does draw


def _inside(decoder, options, row, text):
  written = []
  for token in text:
    if written and written[-1] == MARKS.sep:
      return token == MARKS.pad
    log_p = next_log_p(decoder, options, row, written)
    order = np.argsort(-log_p, kind="stable")
    before = np.cumsum(np.exp(log_p[order])) - np.exp(log_p[order])
    if token not in order[before < options.top_p]:
      return False
    written.append(token)
  return True


def _shown(text):
  return tuple(MARKS.pad if token == MARKS.sep else token for token in text)


class Seeing(Decoder):
  """The same behind encoders that tell how many rows there are."""

  cfg = SimpleNamespace(word_map=SimpleNamespace(enabled=False))

  def apply(self, variables, *given, method, longest=None):
    if method.startswith("encode"):
      return SimpleNamespace(mask=given[-1])
    return super().apply(variables, *given, method=method, longest=longest)


def test_what_is_drawn_does_not_depend_on_batches(decoder, monkeypatch):
  """Equal pictures and questions: a text differs by its number alone."""
  write = Writing("nucleus", 1, 1.0, 3, 5, 1.0)
  model = Seeing(*decoder)

  def look(call, image, *rest):
    rows = len(image.mask if rest[1:] else rest[0].mask)
    states = jnp.zeros((rows, 2, WORDS))
    return None, (states, jnp.ones(states.shape[:2], bool))

  monkeypatch.setattr(captioning, "locate_prompt", look)
  monkeypatch.setattr(vqa, "_look", look)
  options = Vqa(1, 6, 0.0, "generate", 1, 1, write)
  predict = {
    **captioning.predictions(model, Captioning("", 0.0, write), MARKS, (5,)),
    **vqa.predictions(model, options, MARKS),
    "encode_image": lambda params, image: image[:, 0, 0, 0],
  }
  images, params = np.zeros((6, 1, 1, 3), np.uint8), {"slan": {}}
  about = np.array([4, 0, 0, 5, 1, 1, 1])
  asked = Questions(np.zeros((7, 2), np.int32), np.ones((7, 2), bool), about)
  found = []
  for size in (2, 5):
    batching = Batching(size, size, progress=False)
    texts = write_captions(predict, params, images, len(images), batching)[0]
    answers = answer_questions(predict, params, images, asked, None, batching)
    found.append((texts.tolist(), answers.tolist()))
  assert found[0] == found[1]
  for texts in found[0]:
    assert len({*map(tuple, texts)}) > 3


def test_a_tiny_nucleus_is_greedy(decoder):
  options = Writing("nucleus", 1, 1e-6, 1, 4, 1.0)
  greedy = program(decoder, Writing("beam", 1, 0.9, 1, 4, 1.0))(0)
  found = program(decoder, options)(5)
  assert found.tokens.tolist() == greedy.tokens.tolist()
  np.testing.assert_allclose(found.score, greedy.score, rtol=1e-5)


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"search": "greedy"}, "search is 'greedy'"),
    ({"beams": 0}, "beams=0"),
    ({"top_p": 0.0}, "top_p is 0"),
    ({"shortest": 5}, "shortest=5, longest=4"),
    ({"shortest": 0, "longest": 0}, "longest=0"),
    ({"repetition_penalty": 0.0}, "repetition_penalty=0"),
  ],
)
def test_options_that_cannot_be_are_refused(changes, message):
  good = Writing("beam", 1, 0.9, 1, 4, 1.0)
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(good, **changes)
