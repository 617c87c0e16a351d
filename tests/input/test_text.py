import json

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from data.vocabulary import words_tokenizer, write_tokenizer
from slan_jax.input.errors import InputError
from slan_jax.input.text import TextEncoder, load_encoder, text_id
from tests.input.prepared import WORDS


def encoder(length=8):
  return TextEncoder(words_tokenizer(WORDS), length)


def numbers(encoder, *tokens):
  return [encoder._tokenizer.token_to_id(token) for token in tokens]


def test_texts_are_framed_and_padded():
  enc = encoder()
  ids, mask, truncated = enc(["a red dog", "Two DOGS"])
  expected = [
    ["[CLS]", "a", "red", "dog", "[SEP]", *["[PAD]"] * 3],
    ["[CLS]", "two", "dogs", "[SEP]", *["[PAD]"] * 4],
  ]
  assert ids.tolist() == [numbers(enc, *row) for row in expected]
  assert mask.tolist() == [[t != "[PAD]" for t in row] for row in expected]
  assert truncated.tolist() == [False, False]
  assert ids.dtype == np.int32 and mask.dtype == bool


def test_long_texts_keep_their_end_token_and_are_marked():
  enc = encoder(5)
  ids, mask, truncated = enc(["a red dog", "a red dog and a cat"])
  assert ids[1].tolist() == numbers(enc, "[CLS]", "a", "red", "dog", "[SEP]")
  assert mask.all() and truncated.tolist() == [False, True]


def test_no_texts_give_no_rows():
  assert encoder()([]).ids.shape == (0, 8)


def test_ids_and_sizes():
  enc = encoder()
  assert (enc.pad_id, enc.cls_id, enc.sep_id, enc.mask_id) == (0, 2, 3, 4)
  assert set(enc.special_ids) == {0, 1, 2, 3, 4}
  assert enc.vocab_size == 1 + max(numbers(enc, *WORDS))
  ids = enc(["a red dog"]).ids[0]
  assert enc.decode(ids) == "a red dog"
  assert enc.pieces(ids[:3]) == ["[CLS]", "a", "red"]


def test_function_words_end_phrases_and_others_do_not():
  enc = encoder()
  assert set(numbers(enc, "a", "of", "and", "[SEP]", ",")) <= set(
    enc.function_ids
  )
  assert not set(numbers(enc, "dog", "red")) & set(enc.function_ids)


def test_spans_cover_their_tokens_only():
  enc = encoder(10)
  text = "two dogs left of a red cat"
  spans = [(0, 8), (17, 26), (9, 13), (12, 14)]
  rows = enc.span_tokens(text, spans)
  tokens = enc._tokenizer.encode(text).tokens
  named = [
    [t for t, inside in zip(tokens, row, strict=True) if inside] for row in rows
  ]
  assert named == [["two", "dogs"], ["a", "red", "cat"], ["left"], ["left"]]


def test_spans_cover_all_pieces_of_a_word():
  enc = encoder(10)
  (row,) = enc.span_tokens("a bat on", [(2, 5)])
  assert row.tolist() == [False, False, *[True] * 3, *[False] * 5]


def test_spans_beyond_the_cut_have_no_token():
  rows = encoder(5).span_tokens("a red dog and a cat", [(14, 19), (0, 9)])
  assert rows.sum(1).tolist() == [0, 3]
  assert not rows[:, [0, -1]].any()
  assert encoder().span_tokens("a dog", []).shape == (0, 8)


def test_text_id_ignores_case_space_and_the_full_stop():
  same = {text_id(t) for t in ("A red dog.", "a  red dog ", "a red DOG")}
  assert len(same) == 1
  assert text_id("a red dog") != text_id("a red cat")
  assert all(0 <= text_id(str(n)) < 2**31 for n in range(100))


def test_tokenizers_load_from_directories(tmp_path):
  place = tmp_path / "tokenizer"
  write_tokenizer(words_tokenizer(WORDS), place)
  text = ["a red dog, xylophone"]
  wanted = encoder(20)(text).ids.tolist()
  assert load_encoder("dataset", 20, tmp_path)(text).ids.tolist() == wanted
  assert load_encoder(str(place), 20, "x")(text).ids.tolist() == wanted
  (place / "tokenizer.json").unlink()  # only vocab.txt is left
  assert load_encoder(str(place), 20, "x")(text).ids.tolist() == wanted
  with pytest.raises(InputError, match="no tokenizer"):
    load_encoder("dataset", 20, tmp_path)


def test_unknown_tokenizer_is_named(tmp_path, monkeypatch):
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  with pytest.raises(InputError, match="no-such-name"):
    load_encoder(str(tmp_path / "no-such-name"), 8, tmp_path)


def test_unusable_tokenizers_and_lengths_are_refused():
  bare = Tokenizer(WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
  with pytest.raises(InputError, match=r"\[PAD\]"):
    TextEncoder(bare, 8)
  with pytest.raises(InputError, match="at least 3"):
    encoder(2)


def test_bert_uncased_is_reproduced(test_data, tmp_path):
  """Published vocabulary and cases where present, else a case by hand."""
  if test_data:
    folder = test_data / "text"
    words = (folder / "bert_base_uncased_vocab.txt").read_text("utf-8")
    cases = json.loads((folder / "bert_wordpiece_cases.json").read_text())
    cases = [(case["text"], case["input_ids"]) for case in cases["cases"]]
  else:
    words = "\n".join(
      ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able"]
      + ["the", "cafe", "!", "want", "##ed"]
    )
    # Greedy longest match, lower case, accents stripped.
    cases = [
      ("UNaffable!", [2, 5, 6, 7, 10, 3]),
      ("The café wanted", [2, 8, 9, 11, 12, 3]),
      ("the xyz", [2, 8, 1, 3]),
    ]
  (tmp_path / "vocab.txt").write_text(words + "\n", "utf-8")
  enc = load_encoder(str(tmp_path), 128, tmp_path)
  for text, ids in cases:
    encoded = enc([text])
    assert encoded.ids[0][encoded.mask[0]].tolist() == ids, text
