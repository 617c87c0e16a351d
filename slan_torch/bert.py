"""BERT: text encoder (section 3.1), text decoder, language-model head.

Axis letters: B batch, N tokens, M encoder states, D width, V vocabulary.
Post-LN, learned positions, token type 0, exact GELU.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slan_torch.layers import Mlp, MultiHeadAttention

_EPSILON = 1e-12
# Per layer: keys and values of the tokens so far, and of the encoder states.
Cache = list[tuple[Tensor, ...]]


class Embeddings(nn.Module):
  """Word, position and token-type embeddings, summed and normalised."""

  def __init__(self, vocab_size: int, max_positions: int, width: int):
    super().__init__()
    self.word = nn.Embedding(vocab_size, width)
    self.position = nn.Embedding(max_positions, width)
    self.token_type = nn.Embedding(2, width)
    self.norm = nn.LayerNorm(width, eps=_EPSILON)

  def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
    x = self.word(ids) + self.position(positions)[None]
    return self.norm(x + self.token_type.weight[0])


class Layer(nn.Module):
  """Self-attention, cross attention if `cross`, feed-forward; post-LN."""

  def __init__(self, width: int, heads: int, mlp_width: int, cross: bool):
    super().__init__()
    self.attention = MultiHeadAttention(width, heads)
    self.attention_norm = nn.LayerNorm(width, eps=_EPSILON)
    self.cross = MultiHeadAttention(width, heads) if cross else None
    self.cross_norm = nn.LayerNorm(width, eps=_EPSILON) if cross else None
    self.mlp = Mlp(width, mlp_width)
    self.mlp_norm = nn.LayerNorm(width, eps=_EPSILON)

  def forward(
    self,
    x: Tensor,
    mask: Tensor,
    states: Tensor | None = None,
    states_mask: Tensor | None = None,
    cache: tuple[Tensor, ...] | None = None,
  ) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer.

    Args:
      x: [B, N, D].
      mask: bool [B, M] or [B, N, M] over the keys, cached ones first.
      states: [B, M, D] encoder states; None = those of the cache, if any.
      states_mask: bool [B, M].
      cache: of the tokens before `x`.

    Returns:
      [B, N, D], and the cache with `x`.
    """
    key, value = self.attention.project(x, x)
    if cache:
      key = torch.cat([cache[0], key], 1)
      value = torch.cat([cache[1], value], 1)
    x = self.attention_norm(x + self.attention.read(x, key, value, mask))
    kept = key, value
    if self.cross is not None:
      pair = cache[2:] if cache else self.cross.project(states, states)
      x = self.cross_norm(x + self.cross.read(x, *pair, states_mask))
      kept += pair
    return self.mlp_norm(x + self.mlp(x)), kept


class BertEncoder(nn.Module):
  """Bidirectional text encoder; words attend to real words only."""

  def __init__(self, text, width: int):
    super().__init__()
    self.embeddings = Embeddings(text.vocab_size, text.max_positions, width)
    self.layers = nn.ModuleList(
      Layer(width, text.heads, text.mlp_width, False)
      for _ in range(text.layers)
    )

  def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
    """Args: ids [B, N]; mask bool [B, N]. Returns [B, N, D]."""
    x = self.embeddings(ids, torch.arange(ids.shape[1], device=ids.device))
    for layer in self.layers:
      x, _ = layer(x, mask)
    return x


class BertDecoder(nn.Module):
  """Causal text decoder with cross attention and its own embeddings."""

  def __init__(self, text, generator, width: int):
    super().__init__()
    self.embeddings = Embeddings(text.vocab_size, text.max_positions, width)
    self.layers = nn.ModuleList(
      Layer(width, generator.heads, generator.mlp_width, True)
      for _ in range(generator.layers)
    )

  def forward(
    self, ids: Tensor, mask: Tensor, states: Tensor, states_mask: Tensor
  ) -> Tensor:
    """All positions at once: position n has seen tokens 0..n of `mask`."""
    causal = _causal(ids.shape[1], 0, ids.device) & mask[:, None]
    return self._run(ids, 0, causal, states, states_mask, None)[0]

  def extend(
    self,
    ids: Tensor,
    states: Tensor,
    states_mask: Tensor,
    cache: Cache | None = None,
  ) -> tuple[Tensor, Cache]:
    """The next tokens [B, N] behind those of the cache, and a longer cache."""
    seen = cache[0][0].shape[1] if cache else 0
    mask = _causal(ids.shape[1], seen, ids.device)
    return self._run(ids, seen, mask, states, states_mask, cache)

  def _run(self, ids, seen, mask, states, states_mask, cache):
    positions = torch.arange(seen, seen + ids.shape[1], device=ids.device)
    x, kept = self.embeddings(ids, positions), []
    for i, layer in enumerate(self.layers):
      own = cache[i] if cache else None
      x, own = layer(x, mask, states, states_mask, own)
      kept.append(own)
    return x, kept


def _causal(length: int, seen: int, device: torch.device) -> Tensor:
  """bool [1, N, seen + N]: a token sees itself and all before it."""
  whole = torch.ones(length, seen + length, dtype=torch.bool, device=device)
  return whole.tril(seen)[None]


class LanguageHead(nn.Module):
  """BERT's head for masked or next tokens, tied to the word embeddings."""

  def __init__(self, vocab_size: int, width: int):
    super().__init__()
    self.dense = nn.Linear(width, width)
    self.norm = nn.LayerNorm(width, eps=_EPSILON)
    self.bias = nn.Parameter(torch.zeros(vocab_size))

  def forward(self, x: Tensor, table: Tensor) -> Tensor:
    """Args: x [..., D]; table [V, D]. Returns [..., V] float32."""
    x = self.norm(F.gelu(self.dense(x)))
    return F.linear(x, table).float() + self.bias.float()
