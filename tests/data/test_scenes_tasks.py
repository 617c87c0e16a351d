"""The drawn data sets of other tasks, as records."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from data.catalog import CATALOG
from data.scenes import Scenes
from data.scenes_clips import ScenesClips
from data.scenes_nlvr2 import ScenesNlvr2
from data.scenes_vqa import ScenesVqa
from slan_jax.input.words import mirror_directions
from tests.data.reading import read_source

SIZES = {"train_size": 16, "val_size": 8, "test_size": 8}
NAMES = ("scenes_vqa", "scenes_nlvr2", "scenes_clips")


@pytest.fixture(scope="module")
def made():
  return {name: read_source(CATALOG[name].load()(**SIZES))[0] for name in NAMES}


def texts(record):
  questions = record.get("questions", {"text": []})["text"]
  statements = record.get("statements", {"text": []})["text"]
  return [*record["captions"], *questions, *statements]


@pytest.mark.parametrize("name", NAMES)
def test_every_record_is_written_under_a_name_of_its_own(made, name):
  assert {split: len(rows) for split, rows in made[name].items()} == {
    "train": 16,
    "val": 8,
    "test": 8,
  }
  names = [row["id"] for rows in made[name].values() for row in rows]
  assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_records(made, name):
  source = CATALOG[name].load()
  again = read_source(source(**SIZES))[0]
  other = read_source(source(seed=1, **SIZES))[0]
  first = made[name]["test"]
  assert [str(row) for row in again["test"]] == [str(row) for row in first]
  assert [row["image"] for row in other["test"]] != [r["image"] for r in first]


@pytest.mark.parametrize("name", NAMES)
def test_the_vocabulary_is_that_of_the_scenes(made, name):
  ours = CATALOG[name].load()().tokenizer()
  assert ours.to_str() == Scenes().tokenizer().to_str()
  for record in (row for rows in made[name].values() for row in rows):
    for text in texts(record):
      encoded = ours.encode(text)
      assert "[UNK]" not in encoded.tokens and len(encoded.ids) <= 40, text
      # A word in letters would be a phrase of its own.
      assert not any("##" in token for token in encoded.tokens), text


def test_questions_have_ten_answers_of_the_scene(made):
  for record in made["scenes_vqa"]["test"]:
    questions, answers = record["questions"], record["answers"]
    assert 4 <= len(questions["text"]) <= 6
    given = Counter()
    for question, count in zip(answers["question"], answers["count"]):
      given[question] += count
    assert set(given.values()) == {10}
    assert set(given) == {*range(len(questions["text"]))}


def test_questions_are_about_the_pictures_of_scenes(made):
  scenes, _ = read_source(Scenes(**SIZES))
  theirs = [row["image"] for row in made["scenes_vqa"]["train"]]
  assert theirs == [row["image"] for row in scenes["train"]]


def test_the_list_of_answers_comes_from_train():
  ranked = json.loads(ScenesVqa(train_size=250).texts()["answers.json"])
  assert len(ranked) == len(set(ranked)) == 22
  assert {*ranked[:2]} == {"yes", "no"}  # of two kinds of questions
  few = json.loads(ScenesVqa(train_size=1).texts()["answers.json"])
  assert 1 <= len(few) <= 6


def test_groups_of_four_pairs_are_half_true(made):
  for rows in made["scenes_nlvr2"].values():
    groups: dict[str, list[bool]] = {}
    pictures: dict[tuple, list[bool]] = {}
    for row in rows:
      (group,) = row["statements"]["group"]
      (true,) = row["statements"]["true"].tolist()
      (right,) = row["more_images"]["image"]
      groups.setdefault(group, []).append(true)
      pictures.setdefault((row["image"], right), []).append(true)
      assert row["image"] != right
    assert all(sorted(v) == [False, False, True, True] for v in groups.values())
    assert all(sorted(v) == [False, True] for v in pictures.values())


def test_sizes_are_rounded_up_to_whole_groups():
  records, _ = read_source(ScenesNlvr2(train_size=1, val_size=9, test_size=8))
  assert {s: len(rows) for s, rows in records.items()} == {
    "train": 8,
    "val": 16,
    "test": 8,
  }


def test_frames_of_a_clip_change_and_belong_together(made):
  for record in made["scenes_clips"]["train"]:
    frames = [record["image"], *record["more_images"]["image"]]
    assert (
      len(frames) == 8 and record["more_images"]["width"].tolist() == [64] * 7
    )
    pixels = np.stack(
      [cv2.imdecode(np.frombuffer(f, np.uint8), 1) for f in frames]
    ).astype(int)
    # Backgrounds stay: most of the picture is the same, noise aside.
    apart = np.abs(pixels[1:] - pixels[:-1]).max(-1)
    assert (np.median(apart, axis=(1, 2)) < 40).all()
  moved = [
    record["image"] != record["more_images"]["image"][-1]
    for record in made["scenes_clips"]["train"]
  ]
  assert np.mean(moved) > 0.5


def test_a_gallery_of_clips_has_one_sentence_each_and_no_two_alike(made):
  told = [record["captions"] for record in made["scenes_clips"]["test"]]
  assert all(len(captions) == 1 for captions in told)
  assert len({captions[0] for captions in told}) == len(told)
  assert max(len(r["captions"]) for r in made["scenes_clips"]["train"]) == 4


def test_frames_are_an_option_and_ways_can_be_mirrored():
  source = ScenesClips(**SIZES)
  source.frames = 3
  (record, *_) = source.read("val", [0, 1])
  assert len(record.extra["more_images"]["image"]) == 2
  assert mirror_directions("a ring left to right") == "a ring right to left"


def test_unknown_sizes_are_refused():
  with pytest.raises(TypeError, match="tset_size"):
    ScenesVqa(tset_size=3)
