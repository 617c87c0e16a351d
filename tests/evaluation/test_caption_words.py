import pytest

from slan_jax.evaluation import caption_words
from slan_jax.evaluation.caption_words import PTB, RULES, java_path, tokenise

# What Stanford's tokeniser and the official list of marks make of captions.
CASES = [
  ("A man is riding a red bicycle.", "a man is riding a red bicycle"),
  (
    "A man's dog isn't (very) big, is it?",
    "a man 's dog is n't -lrb- very -rrb- big is it",
  ),
  (
    'He said "hi" -- ok... U.S. 3.5% $10 can\'t cannot gonna 1/2 t-shirt',
    "he said hi ok u.s. 3.5 % $ 10 ca n't can not gon na 1/2 t-shirt",
  ),
  ("“quoted”  text — here\t", "quoted text here"),
  ("7th Ave. & 1st St. at 10:30", "7th ave. & 1st st. at 10:30"),
  ("a 50s diner, etc.", "a 50s diner etc."),
  ("", ""),
  ("two\nlines", "two lines"),
]
WRITTEN, WORDS = map(list, zip(*CASES))


@pytest.mark.skipif(java_path() is None, reason="there is no Java")
def test_javas_words_are_the_official_ones():
  assert tokenise(WRITTEN) == (WORDS, PTB)


def test_without_java_our_rules_give_the_same_words(monkeypatch):
  monkeypatch.setattr(caption_words, "java_path", lambda: None)
  assert tokenise(WRITTEN) == (WORDS, RULES)


def test_a_failing_java_is_an_error(monkeypatch):
  monkeypatch.setattr(caption_words, "java_path", lambda: "false")
  with pytest.raises(ValueError, match=r"the tokeniser failed \(false -cp"):
    tokenise(["a dog"])
