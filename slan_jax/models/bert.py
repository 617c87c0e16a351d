"""BERT: text encoder (section 3.1), text decoder, language-model head.

Axis letters: B batch, N tokens, M encoder states, D width, V vocabulary, L
layers. Post-LN, learned positions, token type 0, exact GELU, epsilon 1e-12.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import config, layers

Cache = dict[str, Any]

_EPSILON = 1e-12


class Embeddings(nn.Module):
  """Word, position and token-type embeddings, summed and normalised."""

  vocab_size: int
  max_positions: int
  width: int
  dtype: layers.Dtype

  def setup(self) -> None:
    init = nn.initializers.normal(layers.bert_std(self.width))
    self.word = self.param("word", init, (self.vocab_size, self.width))
    self.position = self.param(
      "position", init, (self.max_positions, self.width)
    )
    # Two rows as published checkpoints have; our texts are all of type 0.
    self.token_type = self.param("token_type", init, (2, self.width))
    self.norm = layers.layer_norm(_EPSILON, self.dtype)

  def __call__(self, ids: jax.Array, positions: jax.Array) -> jax.Array:
    """Args: ids int [B, N]; positions int [N]. Returns [B, N, D]."""
    # Frequent words add up many gradients: in float32, whatever the table is.
    x = self.word.astype(jnp.float32)[ids]
    x += self.position.astype(jnp.float32)[positions][None]
    return self.norm(x + self.token_type[0][None, None])

  def table(self) -> jax.Array:
    """Word embeddings, [V, D] float32."""
    return self.word


class Layer(nn.Module):
  """Self-attention, cross attention if `cross`, feed-forward; post-LN."""

  width: int
  heads: int
  mlp_width: int
  cross: bool
  dtype: layers.Dtype

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    cache: Cache | None,
    mask: jax.Array,
    states: jax.Array | None = None,
    states_mask: jax.Array | None = None,
    index: jax.Array | None = None,
  ) -> tuple[jax.Array, Cache | None]:
    """One layer.

    Args:
      x: [B, N, D].
      cache: keys and values of earlier tokens [B, longest, D], and of the
        encoder states once seen; None = no cache.
      mask: bool [B, M] or [B, N, M] over the keys of self-attention.
      states: [B, M, D] encoder states; None = those in the cache.
      states_mask: bool [B, M].
      index: int [], where the tokens of `x` stand in the cache.

    Returns:
      [B, N, D], and the cache with the keys and values of `x` and `states`.
    """
    init = nn.initializers.normal(layers.bert_std(self.width))

    def attention(name: str) -> layers.MultiHeadAttention:
      return layers.MultiHeadAttention(
        self.width, self.heads, self.dtype, init, name=name
      )

    def add(x: jax.Array, y: jax.Array, name: str) -> jax.Array:
      return layers.layer_norm(_EPSILON, self.dtype, name)(x + y)

    own = attention("attention")
    key, value = own.project(x, x)
    if cache is not None:
      update = jax.lax.dynamic_update_slice_in_dim
      key = update(cache["key"], key, index, axis=1)
      value = update(cache["value"], value, index, axis=1)
      cache = cache | {"key": key, "value": value}
    x = add(x, own.read(x, key, value, mask), "attention_norm")
    if self.cross:
      other = attention("cross")
      if states is None:
        pair = cache["states_key"], cache["states_value"]
      else:
        pair = other.project(states, states)
      if cache is not None:
        cache = cache | {"states_key": pair[0], "states_value": pair[1]}
      x = add(x, other.read(x, *pair, states_mask), "cross_norm")
    mlp = layers.Mlp(self.mlp_width, layers.gelu, self.dtype, init, name="mlp")
    return add(x, mlp(x), "mlp_norm"), cache


class BertEncoder(nn.Module):
  """Bidirectional text encoder; words attend to real words only."""

  text: config.Text
  width: int
  dtype: layers.Dtype
  remat: str

  def setup(self) -> None:
    text = self.text
    self.embeddings = Embeddings(
      text.vocab_size, text.max_positions, self.width, self.dtype
    )
    stacked = layers.stack(
      Layer, text.layers, self.remat, in_axes=(nn.broadcast,) * 2
    )
    self.layers = stacked(
      self.width, text.heads, text.mlp_width, False, self.dtype
    )

  def __call__(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
    """Contextual words.

    Args:
      ids: int [B, N].
      mask: bool [B, N], True on real tokens.

    Returns:
      [B, N, D].
    """
    x = self.embeddings(ids, jnp.arange(ids.shape[1]))
    return self.layers(x, None, mask)[0]

  def table(self) -> jax.Array:
    """Word embeddings, [V, D] float32: static words, and the tied head."""
    return self.embeddings.table()


class BertDecoder(nn.Module):
  """Causal text decoder with cross attention and its own embeddings."""

  text: config.Text
  generator: config.Generator
  width: int
  dtype: layers.Dtype
  remat: str

  def setup(self) -> None:
    text, generator = self.text, self.generator
    self.embeddings = Embeddings(
      text.vocab_size, text.max_positions, self.width, self.dtype
    )
    stacked = layers.stack(
      Layer,
      generator.layers,
      self.remat,
      in_axes=(0, *(nn.broadcast,) * 4),
    )
    self.layers = stacked(
      self.width,
      generator.heads,
      generator.mlp_width,
      True,
      self.dtype,
    )

  def __call__(
    self,
    ids: jax.Array,
    mask: jax.Array,
    states: jax.Array,
    states_mask: jax.Array,
  ) -> jax.Array:
    """All positions at once, for training.

    Args:
      ids: int [B, N].
      mask: bool [B, N], True on real tokens.
      states: [B, M, D] what the decoder looks at.
      states_mask: bool [B, M].

    Returns:
      [B, N, D]: position n has seen tokens 0..n.
    """
    length = ids.shape[1]
    causal = jnp.tril(jnp.ones((1, length, length), bool)) & mask[:, None]
    x = self.embeddings(ids, jnp.arange(length))
    return self.layers(x, None, causal, states, states_mask, None)[0]

  def start(
    self,
    ids: jax.Array,
    states: jax.Array,
    states_mask: jax.Array,
    *,
    longest: int,
  ) -> tuple[jax.Array, Cache]:
    """Reads a prompt, the same length in all rows, and opens a cache.

    Args:
      ids: int [B, N].
      states: [B, M, D] what the decoder looks at.
      states_mask: bool [B, M].
      longest: tokens that the cache can hold, prompt included.

    Returns:
      [B, N, D] and the cache for `step`.

    Raises:
      ValueError: there are fewer positions than `longest`.
    """
    most = self.text.max_positions
    if longest > most:  # an index too large would read the last one
      raise ValueError(
        f"{longest} tokens with the prompt are to be written; "
        f"model.text.max_positions is {most}"
      )
    room = (self.generator.layers, ids.shape[0], longest, self.width)
    empty = jnp.zeros(room, self.dtype)
    cache = {
      "layers": {"key": empty, "value": empty},
      "states_mask": states_mask,
      "index": jnp.zeros((), jnp.int32),
    }
    return self._extend(ids, cache, states)

  def step(self, ids: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """The next tokens: ids int [B, N] -> [B, N, D] and the longer cache."""
    return self._extend(ids, cache, None)

  def _extend(
    self, ids: jax.Array, cache: Cache, states: jax.Array | None
  ) -> tuple[jax.Array, Cache]:
    index = cache["index"]
    positions = index + jnp.arange(ids.shape[1])
    places = jnp.arange(cache["layers"]["key"].shape[2])
    mask = (places[None] <= positions[:, None])[None]
    x, kept = self.layers(
      self.embeddings(ids, positions),
      cache["layers"],
      mask,
      states,
      cache["states_mask"],
      index,
    )
    return x, cache | {"layers": kept, "index": index + ids.shape[1]}

  def table(self) -> jax.Array:
    """Word embeddings, [V, D] float32, for the tied head."""
    return self.embeddings.table()


class LanguageHead(nn.Module):
  """BERT's head for masked or next tokens, tied to the word embeddings."""

  dtype: layers.Dtype

  @nn.compact
  def __call__(self, x: jax.Array, table: jax.Array) -> jax.Array:
    """Logits over the vocabulary.

    Args:
      x: [..., D].
      table: [V, D] word embeddings.

    Returns:
      [..., V] float32.
    """
    rows, width = table.shape
    init = nn.initializers.normal(layers.bert_std(width))
    dense = nn.Dense(width, dtype=self.dtype, kernel_init=init, name="dense")
    x = layers.layer_norm(_EPSILON, self.dtype, "norm")(layers.gelu(dense(x)))
    bias = self.param("bias", nn.initializers.zeros, (rows,))
    logits = jnp.einsum(
      "...d,vd->...v",
      x,
      table.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    return logits + bias.reshape((1,) * (x.ndim - 1) + (rows,))
