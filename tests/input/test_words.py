import itertools
import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import grammar
from slan_jax.input import words
from slan_jax.input.errors import InputError

CLASSES = {
  "colour": ["red", "blue", "orange"],
  "size": [["small", "little"], ["large", "big"]],
  "animal": ["dog", "cat"],
}


def negatives(caption, count=3, seed=0, classes=CLASSES):
  swapper = words.WordSwapper(classes)
  return swapper.negatives(caption, count, random.Random(seed))


@pytest.mark.parametrize(
  ("caption", "mirrored"),
  [
    ("a dog left of a cat", "a dog right of a cat"),
    ("Left and RIGHT, the leftmost", "Right and LEFT, the rightmost"),
    ("bright leftovers upright", "bright leftovers upright"),
    ("a left-hand turn", "a right-hand turn"),
    ("above the cat", "above the cat"),
    ("left.", "right."),
  ],
)
def test_directions_are_mirrored_as_whole_words(caption, mirrored):
  assert words.mirror_directions(caption) == mirrored


@given(st.text(alphabet="leftrigh LR,", max_size=40))
def test_mirroring_twice_changes_nothing(text):
  # "lEFT" has a case that a word cannot keep: those are left out.
  found = re.findall(r"(?i)\b(?:left|right)\w*\b", text)
  if all(word in (word.lower(), word.upper(), word.title()) for word in found):
    assert words.mirror_directions(words.mirror_directions(text)) == text


def test_one_word_changes_within_its_class():
  members = {w: name for name, group in CLASSES.items() for w in _flat(group)}
  caption = "a small red dog and a blue cat"
  for seed in range(30):
    made = negatives(caption, seed=seed)
    assert len(made) == len(set(made)) == 3
    for text in made:
      pairs = [
        (old, new)
        for old, new in zip(caption.split(), text.split(), strict=True)
        if old != new and {old, new} != {"a", "an"}
      ]
      ((old, new),) = pairs
      assert members[old] == members[new]


def _flat(group):
  return itertools.chain(*([w] if isinstance(w, str) else w for w in group))


def test_words_that_mean_the_same_never_replace_each_other():
  made = {t for seed in range(30) for t in negatives("a small thing", 3, seed)}
  assert made == {"a large thing", "a big thing"}


def test_the_article_follows_the_word():
  made = {t for seed in range(20) for t in negatives("A red box", 3, seed)}
  assert made == {"A blue box", "An orange box"}
  made = {t for s in range(20) for t in negatives("see an orange box", 3, s)}
  assert made == {"see a red box", "see a blue box"}
  # No article before it: nothing else changes.
  made = {t for s in range(20) for t in negatives("the red box", 3, s)}
  assert made == {"the blue box", "the orange box"}


def test_case_and_marks_are_kept():
  assert set(negatives("Dog, dogs", 1)) == {"Cat, dogs"}


def test_captions_without_such_words_have_no_negatives():
  assert negatives("something else entirely") == []
  assert len(negatives("a dog", 3)) == 1


def test_the_same_seed_gives_the_same():
  caption = "a small red dog and a blue cat"
  assert negatives(caption, seed=5) == negatives(caption, seed=5)
  assert len({tuple(negatives(caption, seed=s)) for s in range(8)}) > 4


def test_bad_classes_are_refused():
  with pytest.raises(InputError, match="'relation'"):
    words.WordSwapper({"relation": ["left of", "right of"]})


def test_builtin_classes_are_sound(tmp_path):
  classes = words.load_word_classes("builtin", tmp_path)
  words.WordSwapper(classes)
  for name, members in classes.items():
    every = list(_flat(members))
    assert len(every) == len(set(every)) > 1, name
    assert all(word == word.lower() for word in every)
  text = "two men ride a red bus near the left side of a small kitchen"
  assert len(negatives(text, 5, classes=classes)) == 5


def test_classes_come_from_the_dataset_the_package_or_a_file(tmp_path):
  builtin = words.load_word_classes("builtin", tmp_path)
  assert words.load_word_classes("dataset", tmp_path) == builtin
  (tmp_path / "word_classes.json").write_text(json.dumps(CLASSES))
  assert words.load_word_classes("dataset", tmp_path) == CLASSES
  own = tmp_path / "own.json"
  own.write_text(json.dumps(grammar.word_classes()))
  assert words.load_word_classes(str(own), "x") == grammar.word_classes()


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"a": "b"}'])
def test_unusable_class_files_are_named(tmp_path, content):
  path = tmp_path / "classes.json"
  if content is not None:
    path.write_text(content)
  with pytest.raises(InputError, match=r"classes\.json"):
    words.load_word_classes(str(path), tmp_path)
