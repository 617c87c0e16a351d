"""Captions to token numbers, and noun phrases to the tokens they cover."""

import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from slan_jax.input.errors import InputError

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Encoded(NamedTuple):
  """Texts of one length.

  Attributes:
    ids: [n, N] int32, [CLS] ... [SEP] [PAD].
    mask: [n, N] bool, True on real tokens, [CLS] and [SEP] included.
    truncated: [n] bool, True where words were cut off.
  """

  ids: np.ndarray
  mask: np.ndarray
  truncated: np.ndarray


class TextEncoder:
  """A WordPiece tokenizer with a fixed length."""

  def __init__(self, tokenizer: Tokenizer, max_length: int):
    """Fixes the length.

    Args:
      tokenizer: Has BERT's special tokens and adds [CLS] and [SEP] itself.
      max_length: N, tokens of every encoded text, at least 3.

    Raises:
      InputError: A special token is missing.
    """
    numbers = {name: tokenizer.token_to_id(name) for name in _SPECIAL}
    missing = [name for name, number in numbers.items() if number is None]
    if missing:
      raise InputError(f"the tokenizer lacks {missing}; BERT's has them all")
    if max_length < 3:
      raise InputError(
        f"text.max_length is {max_length}; expected at least 3, for [CLS], "
        "a word and [SEP]"
      )
    self.pad_id = numbers["[PAD]"]
    self.cls_id = numbers["[CLS]"]
    self.sep_id = numbers["[SEP]"]
    self.mask_id = numbers["[MASK]"]
    self.unk_id = numbers["[UNK]"]
    self.special_ids = tuple(numbers.values())
    self.max_length = max_length
    self.vocab_size = tokenizer.get_vocab_size()
    self._tokenizer = tokenizer
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(
      length=max_length, pad_id=self.pad_id, pad_token="[PAD]"
    )

  @property
  def function_ids(self) -> tuple[int, ...]:
    """Tokens between noun phrases: special ones, marks and function words.

    Prepositions, articles, numbers, auxiliaries and words of place, from the
    English list of this package; other languages bring a list of their own.
    """
    path = resources.files("slan_jax.input") / "function_words.json"
    words = set(json.loads(path.read_text("utf-8")))
    vocabulary = self._tokenizer.get_vocab()
    found = (
      number
      for token, number in vocabulary.items()
      if token in words or not token.removeprefix("##").isalnum()
    )
    return tuple(sorted({*found, *self.special_ids}))

  def token_ids(self) -> dict[str, int]:
    """Numbers of the special tokens, as an export's config.json has them."""
    return {
      "pad": self.pad_id,
      "unk": self.unk_id,
      "cls": self.cls_id,
      "sep": self.sep_id,
      "mask": self.mask_id,
    }

  def __call__(self, texts: Sequence[str]) -> Encoded:
    """Encodes texts together, which is several times faster than singly."""
    encodings = self._tokenizer.encode_batch_fast(list(texts))
    shape = (len(encodings), self.max_length)
    ids = np.array([e.ids for e in encodings], np.int32).reshape(shape)
    return Encoded(
      ids=ids,
      mask=ids != self.pad_id,
      truncated=np.array([bool(e.overflowing) for e in encodings], bool),
    )

  def span_tokens(
    self, text: str, spans: Sequence[tuple[int, int]]
  ) -> np.ndarray:
    """Tokens that overlap character spans of a text.

    Args:
      text: A caption.
      spans: Start and end characters, end excluded.

    Returns:
      [P, N] bool; special tokens are never part of a span. A span beyond the
      fixed length has no token.
    """
    encoding = self._tokenizer.encode(text)
    starts, ends = np.array(encoding.offsets).T
    low, high = np.array(spans, int).reshape(-1, 2).T[..., None]
    inside = (starts < high) & (ends > low)
    return inside & ~np.array(encoding.special_tokens_mask, bool)

  def with_length(self, max_length: int) -> "TextEncoder":
    """The same tokenizer with another fixed length."""
    return TextEncoder(self._bare(), max_length)

  def to_json(self) -> str:
    """The tokenizer as tokenizer.json holds it, without the fixed length."""
    return self._bare().to_str(pretty=True)

  def _bare(self) -> Tokenizer:
    bare = Tokenizer.from_str(self._tokenizer.to_str())
    bare.no_truncation()
    bare.no_padding()
    return bare

  def decode(self, ids: Sequence[int]) -> str:
    """The text of token numbers, without special tokens."""
    return self._tokenizer.decode([int(number) for number in ids])

  def pieces(self, ids: Sequence[int]) -> list[str]:
    """The word piece of each token number, special tokens included."""
    return [self._tokenizer.id_to_token(int(number)) for number in ids]


def load_encoder(
  name: str, max_length: int, directory: str | Path
) -> TextEncoder:
  """Loads a tokenizer.

  Args:
    name: "dataset" for the one in the prepared directory, another local
      directory, or a name on the model hub.
    max_length: N, tokens of every encoded text.
    directory: The prepared directory.

  Returns:
    The encoder.

  Raises:
    InputError: It cannot be loaded.
  """
  place = Path(directory) / "tokenizer" if name == "dataset" else Path(name)
  if (place / "tokenizer.json").is_file():
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
  elif name == "dataset":
    raise InputError(
      f"{place} holds no tokenizer; prepare the data again or set "
      "text.tokenizer to a directory or hub name"
    )
  else:
    tokenizer = _from_transformers(name)
  return TextEncoder(tokenizer, max_length)


def _from_transformers(name: str) -> Tokenizer:
  # Only for vocab.txt and hub names: transformers takes seconds to import.
  from transformers import AutoTokenizer, BertTokenizerFast

  try:
    if (Path(name) / "vocab.txt").is_file():
      loaded = BertTokenizerFast.from_pretrained(name)
    else:
      loaded = AutoTokenizer.from_pretrained(name, use_fast=True)
    return loaded.backend_tokenizer
  except Exception as error:
    raise InputError(
      f"text.tokenizer {name!r} is neither 'dataset', a directory with "
      f"tokenizer.json or vocab.txt, nor a hub name that loads: {error}"
    ) from error


def text_id(caption: str) -> int:
  """A number below 2**31 that equal captions share, case and space aside."""
  normal = " ".join(caption.lower().split()).rstrip(" .")
  digest = hashlib.blake2b(normal.encode(), digest_size=4).digest()
  return int.from_bytes(digest, "little") & 0x7FFFFFFF
