import random
import re

import numpy as np
import pytest

from data import grammar, noun_phrases, scene
from data.scene import DEFAULT, HARD, Item

SEEDS = range(120)


def make(shape, colour="red", size="small", texture="plain", x=0.5, y=0.5):
  return Item(size, colour, texture, shape, x, y, 0.2, 0.0)


def write(items, seed=0, count=4, longest=30):
  rng = random.Random(seed)
  return grammar.write_captions(rng, items, count=count, longest=longest)


def sampled(level, seed):
  return scene.sample_items(np.random.default_rng(seed), level)


def fits(item, words):
  """Whether an object has every word of a singular or plural phrase."""
  own = {*item.attributes, noun_phrases.plural(item.shape)}
  return all(word in own for word in words)


def phrase_words(phrase):
  first, *words = phrase.text.split()
  return first, words


@pytest.mark.parametrize("level", [DEFAULT, HARD], ids=["default", "hard"])
def test_every_phrase_names_its_objects_and_no_other(level):
  for seed in SEEDS:
    items = sampled(level, seed)
    for caption in write(items, seed, longest=level.longest):
      for phrase in caption.phrases:
        assert caption.text[phrase.start : phrase.end] == phrase.text
        first, words = phrase_words(phrase)
        named = [n for n, item in enumerate(items) if fits(item, words)]
        assert sorted(phrase.items) == named
        if len(named) > 1:
          assert noun_phrases.NUMBERS[len(named) - 2] == first
        else:
          assert first in ("a", "an")
          assert words[-1] in scene.SHAPES  # the head noun comes last


@pytest.mark.parametrize("level", [DEFAULT, HARD], ids=["default", "hard"])
def test_every_caption_names_every_object_once(level):
  for seed in SEEDS:
    items = sampled(level, seed)
    captions = write(items, seed, longest=level.longest)
    assert len({caption.text for caption in captions}) == len(captions)
    for caption in captions:
      named = [n for phrase in caption.phrases for n in phrase.items]
      assert sorted(named) == list(range(len(items)))


def test_first_caption_names_objects_singly_and_in_full():
  for seed in SEEDS:
    items = sampled(DEFAULT, seed)
    first = write(items, seed)[0]
    for phrase in first.phrases:
      item = items[phrase.items[0]]
      assert len(phrase.items) == 1
      assert {item.size, item.colour, item.shape} <= set(phrase.text.split())
      assert item.texture == "plain" or item.texture in phrase.text


def test_relations_hold():
  checks = {
    "left of": lambda a, b: a.x < b.x,
    "right of": lambda a, b: a.x > b.x,
    "above": lambda a, b: a.y < b.y,
    "below": lambda a, b: a.y > b.y,
    "next to": lambda a, b: abs(a.x - b.x) + abs(a.y - b.y) < 0.9,
  }
  seen = dict.fromkeys(checks, 0)
  for seed in range(300):
    items = sampled(DEFAULT, seed)
    for caption in write(items, seed):
      for a, b in zip(caption.phrases, caption.phrases[1:]):
        between = caption.text[a.end : b.start].replace("to the ", "").strip()
        if between in checks:
          seen[between] += 1
          assert checks[between](items[a.items[0]], items[b.items[0]])
  assert min(seen.values()) > 5


def test_positions_hold():
  inside = {
    "on the left": lambda item: item.x < 0.5,
    "on the right": lambda item: item.x > 0.5,
    "at the top": lambda item: item.y < 0.5,
    "at the bottom": lambda item: item.y > 0.5,
  }
  found = total = 0
  for seed in range(300):
    items = sampled(DEFAULT, seed)
    for caption in write(items, seed):
      total += 1
      for phrase in caption.phrases:
        rest = caption.text[phrase.end :]
        for words, holds in inside.items():
          if rest.startswith(f" {words}"):
            found += 1
            assert holds(items[phrase.items[0]])
  assert 0 < found < 0.1 * total


def test_counts_and_wordings_vary():
  pair = [make("circle", "red"), make("circle", "blue", x=0.8)]
  texts = {c.text for seed in range(40) for c in write(pair, seed)}
  assert any(text.startswith("two small circles") for text in texts)
  assert any(
    t == "a small blue circle right of a small red circle" for t in texts
  )
  assert any(text.startswith(grammar.OPENINGS[1]) for text in texts)
  assert not any(text.startswith("there is two") for text in texts)


def test_plain_is_said_only_where_it_tells_objects_apart():
  twins = [make("star"), make("star", texture="striped", x=0.9)]
  first = write(twins)[0].text
  assert "a small red plain star" in first
  assert "a small red striped star" in first
  assert "plain" not in write(twins[:1])[0].text


def test_article_agrees():
  texts = {
    c.text for s in range(60) for c in write([make("ring", "orange")], s)
  }
  assert "an orange ring" in texts
  assert not any(re.search(r"\ba [aeiou]|\ban [^aeiou]", t) for t in texts)


def test_captions_stay_short_and_within_the_vocabulary():
  words = set(grammar.grammar_words())
  for level in (DEFAULT, HARD):
    for seed in SEEDS:
      for caption in write(sampled(level, seed), seed, longest=level.longest):
        tokens = caption.text.replace(",", " ,").split()
        assert len(tokens) <= level.longest
        assert set(tokens) - {","} <= words


def test_one_object_still_gives_captions():
  captions = write([make("ring")])
  assert captions and all(len(c.phrases) == 1 for c in captions)


def test_word_classes_are_words_of_the_grammar():
  words = set(grammar.grammar_words())
  for members in grammar.word_classes().values():
    assert len(members) == len(set(members)) > 1
    assert set(members) <= words
