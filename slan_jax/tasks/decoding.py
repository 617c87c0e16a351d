"""Writing with the text decoder: beam search and nucleus sampling.

Every shape is fixed, so that one program writes all texts. Axes: B texts,
K beams, N tokens of the prompt, T tokens at most, V vocabulary, L layers,
D width.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from slan_jax.models.slan import Slan
from slan_jax.tasks.config import Marks, Writing

Cache = dict[str, Any]
# Tokens [B, n] and the cache -> logits [B, n, V] and the longer cache.
Next = Callable[[jax.Array, Cache], tuple[jax.Array, Cache]]


class Text(NamedTuple):
  """What was written.

  Attributes:
    tokens: [B, T] int32 after the prompt, [PAD] from the end on.
    score: [B] float32, mean log probability of a token, the end among them.
  """

  tokens: jax.Array
  score: jax.Array


class _State(NamedTuple):
  step: jax.Array  # tokens written so far
  tokens: jax.Array  # [B, K, T]
  total: jax.Array  # [B, K] log probability
  ended: jax.Array  # [B, K]
  seen: jax.Array  # [B, K, V or 0] bool, tokens of the prompt and written
  logits: jax.Array  # [B, K, V] of the next token
  cache: Cache


def write(
  model: Slan,
  params: Any,
  prompt: jax.Array,
  states: jax.Array,
  states_mask: jax.Array,
  *,
  marks: Marks,
  options: Writing,
  keys: jax.Array,
) -> Text:
  """Writes one text per row.

  Beams end with [SEP] and then go on at no cost; the text is the beam with the
  best mean log probability. A token that may not come ([PAD], [CLS], [UNK],
  [MASK], and [SEP] before `shortest`) takes no part in the softmax. Repeated
  tokens lose by CTRL's rule, applied to logits: a positive one is divided by
  the penalty, a negative one multiplied.

  Args:
    model: the model.
    params: its parameters.
    prompt: [B, N] int32, how every text begins.
    states: [B, M, D] what the decoder looks at.
    states_mask: [B, M] bool.
    marks: ids of the special tokens.
    options: beams or nucleus, lengths and penalty.
    keys: [B] typed PRNG keys, of nucleus sampling; see `row_keys`.

  Returns:
    The texts without their prompt.
  """
  call = functools.partial(model.apply, {"params": params})
  longest = prompt.shape[1] + options.longest
  logits, cache = call(
    prompt, states, states_mask, longest=longest, method="start_text"
  )
  beams = options.beams if options.search == "beam" else 1
  state = _opened(prompt, logits[:, -1], cache, beams, options)
  advance = functools.partial(
    _grow if options.search == "beam" else _sample, marks, options, keys
  )

  def step(state: _State) -> _State:
    token, state = advance(state)
    rows = token.reshape(-1, 1)
    logits, cache = call(rows, state.cache, method="next_text")
    logits = logits[:, 0].reshape(*token.shape, -1)
    return state._replace(logits=logits, cache=cache)

  def unfinished(state: _State) -> jax.Array:
    return (state.step < options.longest) & ~jnp.all(state.ended)

  return _best(marks, jax.lax.while_loop(unfinished, step, state))


def row_keys(rows: jax.Array) -> jax.Array:
  """A key for each text, the same whatever others are written beside it.

  Args:
    rows: [B] int32, numbers of the texts in the whole data set.

  Returns:
    [B] typed PRNG keys.
  """
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), rows)


def _opened(prompt, logits, cache, beams: int, options: Writing) -> _State:
  """The prompt's state, K times; all beams begin alike, so the first counts."""
  batch, words = logits.shape
  repeated = functools.partial(jnp.repeat, repeats=beams)
  layers = jax.tree.map(lambda x: repeated(x, axis=1), cache["layers"])
  mask = repeated(cache["states_mask"], axis=0)
  watched = words if options.repetition_penalty != 1.0 else 0
  seen = jnp.any(jax.nn.one_hot(prompt, watched, dtype=bool), axis=1)
  first = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)
  return _State(
    step=jnp.zeros((), jnp.int32),
    tokens=jnp.zeros((batch, beams, options.longest), jnp.int32),
    total=jnp.broadcast_to(first, (batch, beams)).astype(jnp.float32),
    ended=jnp.zeros((batch, beams), bool),
    seen=jnp.broadcast_to(seen[:, None], (batch, beams, watched)),
    logits=jnp.broadcast_to(logits[:, None], (batch, beams, words)),
    cache=cache | {"layers": layers, "states_mask": mask},
  )


def _log_p(marks: Marks, options: Writing, state: _State) -> jax.Array:
  """Log probability of each next token [B, K, V]; [PAD] alone after the end."""
  logits = state.logits
  penalty = options.repetition_penalty
  if penalty != 1.0:
    worse = jnp.where(logits > 0, logits / penalty, logits * penalty)
    logits = jnp.where(state.seen, worse, logits)
  token = jnp.arange(logits.shape[-1])
  never = jnp.isin(
    token, jnp.array([marks.pad, marks.cls, marks.unk, marks.mask])
  )
  early = (token == marks.sep) & (state.step < options.shortest)
  hidden = (never | early)[None, None]
  log_p = jax.nn.log_softmax(jnp.where(hidden, -jnp.inf, logits), axis=-1)
  nothing = jnp.where(token == marks.pad, 0.0, -jnp.inf)[None, None]
  return jnp.where(state.ended[..., None], nothing, log_p)


def _grow(marks: Marks, options: Writing, keys, state: _State):
  """The K best continuations of all beams together."""
  del keys
  log_p = _log_p(marks, options, state)
  batch, beams, words = log_p.shape
  total = (state.total[..., None] + log_p).reshape(batch, -1)
  total, index = jax.lax.top_k(total, beams)
  source, token = index // words, index % words

  def follow(array: jax.Array) -> jax.Array:
    places = source.reshape(batch, beams, *(1,) * (array.ndim - 2))
    return jnp.take_along_axis(array, places, axis=1)

  def follow_layers(array: jax.Array) -> jax.Array:  # [L, B * K, T, D]
    apart = array.reshape(array.shape[0], batch, beams, *array.shape[2:])
    return jax.vmap(follow)(apart).reshape(array.shape)

  layers = dict(state.cache["layers"])
  # What the decoder looks at is the same for all beams of a text.
  layers |= {name: follow_layers(layers[name]) for name in ("key", "value")}
  state = state._replace(
    tokens=follow(state.tokens),
    total=total,
    ended=follow(state.ended),
    seen=follow(state.seen),
    cache=state.cache | {"layers": layers},
  )
  return token, _written(marks, token, state)


def _sample(marks: Marks, options: Writing, keys, state: _State):
  """One token from the smallest set that holds `top_p` of the probability."""
  log_p = _log_p(marks, options, state)
  order = jnp.argsort(-log_p, axis=-1)
  sorted_p = jnp.exp(jnp.take_along_axis(log_p, order, axis=-1))
  before = jnp.cumsum(sorted_p, axis=-1) - sorted_p
  inside = jnp.put_along_axis(
    jnp.zeros(log_p.shape, bool),
    order,
    before < options.top_p,
    axis=-1,
    inplace=False,
  )

  def draw(key: jax.Array) -> jax.Array:
    key = jax.random.fold_in(key, state.step)
    return jax.random.gumbel(key, log_p.shape[1:], jnp.float32)

  noise = jax.vmap(draw)(keys)
  token = jnp.argmax(jnp.where(inside, log_p + noise, -jnp.inf), axis=-1)
  gain = jnp.take_along_axis(log_p, token[..., None], axis=-1)[..., 0]
  state = state._replace(total=state.total + gain)
  return token, _written(marks, token, state)


def _written(marks: Marks, token: jax.Array, state: _State) -> _State:
  place = jnp.arange(state.tokens.shape[-1]) == state.step
  tokens = jnp.where(place[None, None], token[..., None], state.tokens)
  watched = state.seen.shape[-1]
  return state._replace(
    step=state.step + 1,
    tokens=tokens,
    ended=state.ended | (token == marks.sep),
    seen=state.seen | jax.nn.one_hot(token, watched, dtype=bool),
  )


def _best(marks: Marks, state: _State) -> Text:
  places = jnp.arange(state.tokens.shape[-1])[None, None]
  written = (places < state.step) & (state.tokens != marks.pad)
  length = jnp.maximum(jnp.sum(written, axis=-1), 1)
  mean = state.total / length
  best = jnp.argmax(mean, axis=-1)[:, None]
  tokens = jnp.take_along_axis(state.tokens, best[..., None], axis=1)[:, 0]
  kept = jnp.take_along_axis(written, best[..., None], axis=1)[:, 0]
  kept &= tokens != marks.sep
  return Text(
    tokens=jnp.where(kept, tokens, marks.pad),
    score=jnp.take_along_axis(mean, best, axis=1)[:, 0],
  )
