import subprocess
import sys

import pytest

from data import grammar, vocabulary
from data.errors import PreparationError

CAPTIONS = [
  "A dog runs on the beach.",
  "Two dogs running on a beach",
  "a cat sits on the table near a dog's bowl",
  "the runner runs; the dog barks",
]


def tokens(tokenizer, text):
  return tokenizer.encode(text).tokens


def test_words_are_single_tokens_and_others_are_spelt():
  tokenizer = vocabulary.words_tokenizer(["red", "circle"])
  assert tokens(tokenizer, "Red circle, cab") == [
    *("[CLS]", "red", "circle", ","),
    *("c", "##a", "##b", "[SEP]"),
  ]
  assert [tokenizer.token_to_id(name) for name in vocabulary.SPECIAL] == [
    *range(5)
  ]


def test_every_word_of_the_grammar_is_one_token():
  words = grammar.grammar_words()
  tokenizer = vocabulary.words_tokenizer(words)
  for word in words:
    assert tokens(tokenizer, word) == ["[CLS]", word, "[SEP]"]


def test_learned_vocabulary_covers_what_it_saw():
  tokenizer = vocabulary.learned_tokenizer(CAPTIONS, 120)
  assert tokenizer.get_vocab_size() <= 120
  for caption in CAPTIONS:
    encoding = tokenizer.encode(caption)
    assert "[UNK]" not in encoding.tokens
    spoken = caption.lower().replace(" ", "")
    joined = tokenizer.decode(encoding.ids).replace(" ", "")
    assert joined == spoken


def test_size_bounds_the_vocabulary():
  small = vocabulary.learned_tokenizer(CAPTIONS, 60)
  large = vocabulary.learned_tokenizer(CAPTIONS, 100)
  assert small.get_vocab_size() == 60 < large.get_vocab_size() <= 100
  assert tokens(large, "dog") == ["[CLS]", "dog", "[SEP]"]


def test_learning_gives_the_same_in_every_process():
  # The trainer's hash tables are seeded per process: one is no evidence.
  code = (
    "import hashlib; from tests.data.test_vocabulary import *;"
    "made = vocabulary.learned_tokenizer(CAPTIONS, 90).to_str();"
    "print(hashlib.md5(made.encode()).hexdigest())"
  )
  digests = {
    subprocess.run(
      [sys.executable, "-c", code], capture_output=True, check=True
    ).stdout
    for _ in range(3)
  }
  assert len(digests) == 1


def test_transformers_loads_what_is_written(tmp_path):
  from transformers import AutoTokenizer

  tokenizer = vocabulary.words_tokenizer(["red", "circle"])
  vocabulary.write_tokenizer(tokenizer, tmp_path / "made")
  loaded = AutoTokenizer.from_pretrained(tmp_path / "made")
  text = "A red circle above a Cross"
  assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
  assert loaded.mask_token_id == 4 and loaded.pad_token_id == 0
  assert loaded.decode(loaded("red")["input_ids"], skip_special_tokens=True)


def test_copy_takes_the_tokenizer_files_alone(tmp_path):
  source = tmp_path / "source"
  tokenizer = vocabulary.words_tokenizer(["red"])
  vocabulary.write_tokenizer(tokenizer, source)
  (source / "model.safetensors").write_bytes(b"weights")
  vocabulary.copy_tokenizer(source, tmp_path / "copy")
  copied = sorted(path.name for path in (tmp_path / "copy").iterdir())
  assert copied == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]


def test_copy_refuses_a_directory_without_tokenizer(tmp_path):
  with pytest.raises(PreparationError, match=r"tokenizer\.json"):
    vocabulary.copy_tokenizer(tmp_path, tmp_path / "copy")
