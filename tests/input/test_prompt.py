import itertools

import numpy as np
import pytest

from data.vocabulary import words_tokenizer
from slan_jax.input.errors import InputError
from slan_jax.input.prompt import Style, make_prompts
from slan_jax.input.text import TextEncoder
from tests.input.prepared import WORDS

STYLE = Style("the ", ", ", 0)


def encoder(length):
  return TextEncoder(words_tokenizer(WORDS), length)


def named(prompts, enc):
  """What the tokens of each class spell."""
  found = {}
  for row, classes in enumerate(prompts.classes):
    for place, number in enumerate(classes):
      ids = prompts.ids[row][prompts.class_tokens[row, place]]
      if number >= 0:
        found[prompts.names[number]] = " ".join(enc.pieces(ids))
      else:
        assert not len(ids)
  return found


def test_one_prompt_by_hand():
  enc = encoder(12)
  prompts = make_prompts(["dog", "red_cat", "Blue dog"], enc, STYLE)
  assert prompts.texts == ("the dog, red cat, Blue dog",)
  assert prompts.classes.tolist() == [[0, 1, 2]]
  assert named(prompts, enc) == {
    "dog": "dog",
    "red_cat": "red cat",
    "Blue dog": "blue dog",
  }
  # [CLS] the dog , red cat , blue dog [SEP]
  assert np.flatnonzero(prompts.class_tokens[0, 1]).tolist() == [4, 5]


@pytest.mark.parametrize("length", [13, 64])
def test_twelve_hundred_names_are_cut_into_prompts(length):
  triples = itertools.product(WORDS, repeat=3)
  names = [" ".join(words) for words in itertools.islice(triples, 1200)]
  enc = encoder(length)
  prompts = make_prompts(names, enc, STYLE)
  asked = prompts.classes[prompts.classes >= 0]
  assert asked.tolist() == list(range(1200))  # each once, in order
  assert named(prompts, enc) == {name: name for name in names}
  # Every prompt is full: the next name, a separator, would not have fitted.
  assert (prompts.mask.sum(1)[:-1] > length - 5).all()


def test_few_names_a_prompt():
  prompts = make_prompts(["dog", "cat", "red"], encoder(12), Style("", ", ", 2))
  assert prompts.texts == ("dog, cat", "red")
  assert prompts.classes.tolist() == [[0, 1], [2, -1]]


@pytest.mark.parametrize(
  "names, told",
  [
    ([], "no class"),
    (["dog", " "], "class 1 has the empty name"),
    (["red_dog", "cat", "Red  dog"], "'Red  dog' and 'red_dog' are the same"),
    (["dog", "red red red red red red red"], "'red red.*detection.max_length"),
  ],
)
def test_bad_lists_are_refused(names, told):
  with pytest.raises(InputError, match=told):
    make_prompts(names, encoder(8), STYLE)
