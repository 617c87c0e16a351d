import collections

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import scenes

SIZES = {"train": 20, "val": 30, "test": 250}


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
  tfds.disable_progress_bar()
  made = scenes.Scenes(
    data_dir=tmp_path_factory.mktemp("tfds"),
    train_size=SIZES["train"],
    val_size=SIZES["val"],
    test_size=SIZES["test"],
    processes=1,
  )
  made.download_and_prepare()
  return tfds.builder_from_directory(made.data_dir)


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


def test_several_processes_draw_the_same(monkeypatch, tmp_path):
  monkeypatch.setattr(scenes, "_WORTH_A_POOL", 1)
  monkeypatch.setattr(scenes, "_CHUNK", 2)

  def records(processes):
    builder = scenes.Scenes(
      data_dir=tmp_path / str(processes), train_size=5, processes=processes
    )
    return [record["image"] for record in builder.records("train")]

  assert records(1) == records(2)


def test_report_counts_what_was_read(tmp_path):
  builder = scenes.ScenesHard(data_dir=tmp_path, train_size=2, processes=1)
  assert [record["width"] for record in builder.records("train")] == [128, 128]
  assert builder.report.read == 2
  assert builder.name == "scenes_hard"
  assert builder.counterfactuals() == {}  # for the galleries alone


def test_galleries_have_counterfactuals(tmp_path):
  builder = scenes.Scenes(data_dir=tmp_path, val_size=20, processes=1)
  records = list(builder.records("val"))
  pairs = builder.counterfactuals()["val"]
  assert len(pairs) > 8
  for pair in pairs:
    record = records[pair["record"]]
    assert record["id"] == pair["id"]
    boxes = record["objects"]["box"].tolist()
    first, second = (boxes.index(box) for box in pair["boxes"])
    assert first != second
    if pair["kind"] == "shape":
      labels = record["objects"]["label"]
      for text, number in zip(pair["captions"], (first, second)):
        start, end = pair["spans"][pair["captions"].index(text)]
        assert text[start:end].endswith(labels[number])
