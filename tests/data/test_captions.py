import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.captions import LONGEST, clean_caption


@pytest.mark.parametrize(
  ("text", "clean", "notes"),
  [
    ("a dog", "a dog", []),
    ("  a\tdog\r\nruns ", "a dog runs", []),
    ("zwölf 犬 👩‍🚒", "zwölf 犬 👩‍🚒", []),
    (b"caf\xc3\xa9", "café", []),
    (b"caf\xe9 noir", "caf noir", ["caption: broken UTF-8 dropped"]),
    ("a\x00dog\x1b", "a dog", ["caption: control characters dropped"]),
    ("a \ud83d dog", "a dog", ["caption: control characters dropped"]),
    ("\x00", "", ["caption: control characters dropped"]),
    (None, "", []),
    (float("nan"), "", []),
    (["a dog"], "", []),
  ],
)
def test_what_becomes_of_a_caption(text, clean, notes):
  assert clean_caption(text) == (clean, notes)


def test_a_megabyte_is_cut_between_words():
  text, notes = clean_caption("word " * 200_000)
  assert LONGEST - 5 <= len(text) <= LONGEST and text.endswith("word")
  assert notes == ["caption: cut at 1,000 characters"]
  assert clean_caption("x" * 10**6)[0] == "x" * LONGEST
  assert clean_caption("x" * LONGEST) == ("x" * LONGEST, [])


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40)))
def test_cleaning_twice_changes_nothing(text):
  clean, _ = clean_caption(text)
  assert clean_caption(clean) == (clean, [])
  assert clean == " ".join(clean.encode().decode().split())
