"""Pairs of captions: true, alike but for a few words, of one object each."""

import collections
import random

import numpy as np
import pytest

from data import counterfactual, scene
from data.scene import DEFAULT, HARD, Item


def make(shape, colour="red", size="small", texture="plain", x=0.5, y=0.5):
  return Item(size, colour, texture, shape, x, y, 0.2, 0.0)


@pytest.fixture(scope="module", params=[DEFAULT, HARD], ids=["easy", "hard"])
def sampled(request):
  """A level, and scenes of it that offer a pair, with the pair."""
  scenes = [
    scene.sample_items(np.random.default_rng(seed), request.param)
    for seed in range(150)
  ]
  pairs = [
    counterfactual.counterfactual(random.Random(seed), items)
    for seed, items in enumerate(scenes)
  ]
  return request.param, [
    (items, pair) for items, pair in zip(scenes, pairs) if pair
  ]


def meant(items, phrase):
  """Objects that have every word of a phrase, without its article."""
  words = phrase.text.split()[1:]
  return [n for n, item in enumerate(items) if {*words} <= {*item.attributes}]


def split(caption, phrase):
  assert caption[phrase.start : phrase.end] == phrase.text
  return caption[: phrase.start], caption[phrase.end :]


def test_a_changed_word_leads_to_another_object(sampled):
  seen = collections.Counter()
  for items, (kind, captions, phrases) in sampled[1]:
    if kind == counterfactual.RELATION:
      continue
    seen[kind] += 1
    (first,), (second,) = (phrase.items for phrase in phrases)
    # Each phrase fits its object and no other of the scene.
    assert [meant(items, phrase) for phrase in phrases] == [[first], [second]]
    assert first != second
    before, after = (phrase.text.split()[1:] for phrase in phrases)
    (changed,) = [pair for pair in zip(before, after) if pair[0] != pair[1]]
    assert changed == tuple(
      getattr(items[number], kind) for number in (first, second)
    )
    # Around the phrase nothing differs.
    assert split(captions[0], phrases[0]) == split(captions[1], phrases[1])
  assert {*seen} == {"size", "colour", "texture", "shape"}


def test_a_relation_settles_what_two_objects_share(sampled):
  places = {"left": "x", "right": "x", "above": "y", "below": "y"}
  places |= {"top": "y", "bottom": "y"}
  seen = collections.Counter()
  for items, (kind, captions, phrases) in sampled[1]:
    if kind != counterfactual.RELATION:
      continue
    (first,), (second,) = (phrase.items for phrase in phrases)
    assert phrases[0].text == phrases[1].text
    assert meant(items, phrases[0]) == sorted([first, second])
    words = [caption.replace(",", "").split() for caption in captions]
    (changed,) = {pair for pair in zip(*words) if pair[0] != pair[1]}
    low, high = (
      (first, second)
      if changed[0] in ("left", "above", "top")
      else (second, first)
    )
    axis = places[changed[0]]
    assert getattr(items[low], axis) < getattr(items[high], axis) - 0.2
    seen[axis] += 1
  assert {*seen} == {"x", "y"}


def test_both_captions_name_every_other_object_and_fit_the_text(sampled):
  level, made = sampled
  for items, (_, captions, phrases) in made:
    numbers = [phrase.items[0] for phrase in phrases]
    others = [n for n in range(len(items)) if n not in numbers]
    for caption, phrase in zip(captions, phrases):
      rest = " ".join(split(caption, phrase))
      assert all(items[number].shape in rest for number in others)
      shapes = [
        word for word in rest.split() if word.rstrip(",") in scene.SHAPES
      ]
      assert len(shapes) == len(others)
      assert len(caption.split()) + caption.count(",") <= level.longest


def test_by_hand():
  items = [make("circle"), make("circle", "orange"), make("star", "blue")]
  kind, captions, _ = counterfactual.counterfactual(random.Random(0), items)
  assert kind == "colour"
  told = {
    caption.replace("a small blue star", "").replace(" and ", "")
    for caption in captions
  }
  # As full as it can be said.
  assert told == {"a small red circle", "a small orange circle"}
  left, right = make("circle", x=0.2), make("star", "blue", "large", x=0.8)
  alone = counterfactual.counterfactual(random.Random(0), [left])
  assert alone is None
  # No single word leads from one to the other, and they share no phrase.
  assert counterfactual.counterfactual(random.Random(0), [left, right]) is None


def test_the_source_decides_alone():
  items = [make("circle", x=0.2), make("circle", "blue"), make("star", x=0.8)]
  made = [
    counterfactual.counterfactual(random.Random(seed), items)
    for seed in (1, 1, *range(20))
  ]
  assert made[0] == made[1] and len(set(made)) > 5
