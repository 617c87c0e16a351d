import collections

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import prepare, scenes

SIZES = {"train": 20, "val": 30, "test": 250}


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
  out = tmp_path_factory.mktemp("prepared") / "scenes"
  sizes = [f"--{split}-size={size}" for split, size in SIZES.items()]
  arguments = ["scenes", f"--out={out}", "--workers=1", *sizes]
  assert prepare.main(arguments) == 0
  return tfds.builder_from_directory(out)


def read(builder, split):
  skip = {"image": tfds.decode.SkipDecoding()}
  return list(builder.as_data_source(split, decoders=skip))


def test_tfds_opens_what_was_built(builder):
  assert builder.info.file_format.value == "array_record"
  for split, size in SIZES.items():
    assert builder.info.splits[split].num_examples == size
  decoded = builder.as_data_source("train")[0]
  assert decoded["image"].shape == (64, 64, 3)


def test_records_keep_the_order_of_their_numbers(builder):
  names = [record["id"].decode() for record in read(builder, "test")]
  assert names == [f"test-{n:06d}" for n in range(SIZES["test"])]


def test_phrases_point_into_captions_and_boxes(builder):
  for record in read(builder, "train"):
    captions = [text.decode() for text in record["captions"]]
    phrases, boxes = record["phrases"], record["phrase_boxes"]
    owned = collections.Counter(np.asarray(boxes["phrase"]).tolist())
    assert sorted(owned) == list(range(len(phrases["text"])))
    rows = zip(*(phrases[key] for key in ("text", "caption", "start", "end")))
    for text, caption, start, end in rows:
      assert captions[caption][start:end] == text.decode()
    for box in boxes["box"]:
      assert any((box == own).all() for own in record["objects"]["box"])
    assert not np.any(record["objects"]["crowd"])


@pytest.mark.parametrize("split", ["val", "test"])
def test_no_caption_of_a_gallery_fits_two_pictures(builder, split):
  told = [
    text for record in read(builder, split) for text in record["captions"]
  ]
  assert len(set(told)) == len(told)
  assert all(len(record["captions"]) >= 1 for record in read(builder, split))


def test_image_ids_differ_and_fit_31_bits(builder):
  ids = [
    record["image_id"] for split in SIZES for record in read(builder, split)
  ]
  assert len(set(ids)) == len(ids) == sum(SIZES.values())
  assert min(ids) >= 0 and max(ids) < 2**31


def test_items_cover_every_number_once():
  source = scenes.Scenes(train_size=150, val_size=70, test_size=3)
  ranges = {}
  for split, (start, stop) in source.items():
    ranges.setdefault(split, []).extend(range(start, stop))
  assert {split: len(numbers) for split, numbers in ranges.items()} == {
    "train": 150,
    "val": 70,
    "test": 3,
  }
  assert all(numbers == [*range(len(numbers))] for numbers in ranges.values())


def test_hard_scenes_are_larger():
  (example,) = scenes.ScenesHard(train_size=1).read("train", [0, 1])
  assert example.size == (128, 128)


def test_galleries_have_counterfactuals():
  source = scenes.Scenes(val_size=20, test_size=2)
  records = list(source.read("val", [0, 20]))
  pairs = source.counterfactuals()["val"]
  assert len(pairs) > 8
  for pair in pairs:
    record = records[pair["record"]]
    assert record.name == pair["id"]
    boxes = [box.tolist() for _, box, _ in record.objects]
    first, second = (boxes.index(box) for box in pair["boxes"])
    assert first != second
    if pair["kind"] == "shape":
      labels = [label for label, _, _ in record.objects]
      for text, number in zip(pair["captions"], (first, second)):
        start, end = pair["spans"][pair["captions"].index(text)]
        assert text[start:end].endswith(labels[number])
