"""WordPiece tokenizers: from a list of words, learned, or copied."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer

from data.errors import PreparationError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-"
_TOKENIZER_FILES = (
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "vocab.txt",
)


def words_tokenizer(words: Iterable[str]) -> Tokenizer:
  """A tokenizer that knows these words whole and any other by its letters."""
  tokens = [*SPECIAL, *_CHARACTERS]
  tokens += [f"##{letter}" for letter in _CHARACTERS if letter.isalnum()]
  tokens += sorted(set(words) - set(tokens))
  return _tokenizer(tokens)


def learned_tokenizer(captions: Sequence[str], size: int) -> Tokenizer:
  """A WordPiece vocabulary learned from captions.

  Args:
    captions: Texts to learn from.
    size: Largest number of entries; special tokens and single characters are
      always in.

  Returns:
    The tokenizer; the same captions always give the same one.
  """
  bare = _tokenizer(SPECIAL)
  texts = (bare.normalizer.normalize_str(caption) for caption in captions)
  letters = sorted(
    {letter for text in texts for letter in text.strip()} - {" "}
  )
  # The trainer numbers letters in the order in which a hash table, seeded anew
  # in every process, yields them, and settles ties by number. Declared in
  # advance, their numbers are fixed.
  start = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
  trainer = WordPieceTrainer(
    vocab_size=size, special_tokens=start, show_progress=False
  )
  bare.train_from_iterator(captions, trainer)
  vocabulary = bare.get_vocab()
  return _tokenizer(sorted(vocabulary, key=vocabulary.__getitem__))


def _tokenizer(tokens: Sequence[str]) -> Tokenizer:
  """BERT's uncased WordPiece with these tokens, numbered in their order."""
  vocabulary = {token: number for number, token in enumerate(tokens)}
  tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
  tokenizer.normalizer = BertNormalizer(lowercase=True)
  tokenizer.pre_tokenizer = BertPreTokenizer()
  tokenizer.decoder = WordPieceDecoder(prefix="##")
  tokenizer.add_special_tokens(list(SPECIAL))
  tokenizer.post_processor = TemplateProcessing(
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
  )
  return tokenizer


def write_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
  """Writes a directory that transformers' AutoTokenizer loads."""
  directory.mkdir(parents=True)
  tokenizer.save(str(directory / "tokenizer.json"))
  config = {
    "tokenizer_class": "BertTokenizerFast",
    "do_lower_case": True,
    "model_max_length": 512,
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
  }
  text = json.dumps(config, indent=2) + "\n"
  (directory / "tokenizer_config.json").write_text(text, "utf-8")
  vocabulary = tokenizer.get_vocab()
  tokens = sorted(vocabulary, key=vocabulary.__getitem__)
  (directory / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")


def copy_tokenizer(source: Path, directory: Path) -> None:
  """Copies the tokenizer files of a directory.

  Raises:
    PreparationError: It holds neither tokenizer.json nor vocab.txt.
  """
  present = [name for name in _TOKENIZER_FILES if (source / name).is_file()]
  if not {"tokenizer.json", "vocab.txt"} & set(present):
    raise PreparationError(
      f"--tokenizer {source}: expected a directory with tokenizer.json or "
      "vocab.txt, as transformers' save_pretrained writes"
    )
  directory.mkdir(parents=True)
  for name in present:
    shutil.copyfile(source / name, directory / name)
