import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.proto import tf_example_pb2

from data.metadata import write_metadata
from data.schema import record
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.source import (
  EvaluationSource,
  StoredPictures,
  TrainingSource,
)
from tests.input.prepared import damage, picture, plain_records, write_dataset


def test_records_agree_with_tfds(scenes):
  skip = {"image": tfds.decode.SkipDecoding()}
  builder = tfds.builder_from_directory(scenes)
  reference = builder.as_data_source("train", decoders=skip)
  source = TrainingSource(scenes, "train")
  assert len(source) == len(reference) == 40
  for number in (0, 7, 39):
    ours, theirs = source[number], reference[number]
    assert ours.id == theirs["id"].decode()
    assert ours.image_id == theirs["image_id"]
    assert ours.image == theirs["image"]
    assert ours.size == (theirs["width"], theirs["height"]) == (64, 64)
    assert ours.captions == [text.decode() for text in theirs["captions"]]


def test_training_sees_neither_phrases_nor_boxes(scenes):
  record = TrainingSource(scenes, "train")[0]
  assert record._fields == ("id", "image_id", "image", "size", "captions")


def test_evaluation_sees_phrases_and_objects(tmp_path):
  boxes = [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]
  made = record(
    "both",
    picture(9),
    (16, 16),
    ["a dog", "two dogs and the red cat"],
    phrases=[("two dogs", 1, 0, 8), ("the red cat", 1, 13, 24)],
    phrase_boxes=[(0, boxes[0]), (0, boxes[1])],
    objects=[("dog", boxes[0], False), ("dog", boxes[1], True)],
  )
  directory = write_dataset(tmp_path, train=[made])
  read = EvaluationSource(directory, "train")[0]
  assert read.record == TrainingSource(directory, "train")[0]
  dogs, cat = read.phrases
  assert (dogs.text, dogs.caption, dogs.span) == ("two dogs", 1, (0, 8))
  np.testing.assert_array_equal(dogs.boxes, boxes)
  assert cat.boxes.shape == (0, 4)
  assert read.labels == ["dog", "dog"]
  np.testing.assert_array_equal(read.boxes, boxes)
  assert read.crowd.tolist() == [False, True]


@pytest.fixture
def small(tmp_path):
  return write_dataset(tmp_path, train=plain_records(20))


def test_missing_directory_is_named(tmp_path):
  with pytest.raises(InputError, match=r"nowhere.*data\.prepare"):
    TrainingSource(tmp_path / "nowhere", "train")


def test_unknown_splits_are_named(small):
  with pytest.raises(InputError, match=r"'tset'.*train"):
    TrainingSource(small, "tset")


def test_broken_metadata_is_named(small):
  (small / "dataset_info.json").write_text("{")
  with pytest.raises(InputError, match="unreadable metadata"):
    TrainingSource(small, "train")


def test_missing_and_cut_shards_are_named(small):
  (shard,) = small.glob("*train*")
  data = shard.read_bytes()
  shard.write_bytes(data[:1000])
  with pytest.raises(InputError, match="damaged"):
    TrainingSource(small, "train")
  shard.unlink()
  with pytest.raises(InputError, match="missing"):
    TrainingSource(small, "train")


def test_another_data_set_is_refused(tmp_path):
  fields = tfds.features.FeaturesDict({"image": tfds.features.Text()})
  lengths, sizes = {"train": [0]}, {"train": 0}
  write_metadata(epath.Path(tmp_path), "other", fields, lengths, sizes)
  with pytest.raises(InputError, match="captions"):
    TrainingSource(tmp_path, "train")


def test_pictures_of_a_split_are_read_when_they_are_asked_for(tmp_path):
  noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
  image = cv2.imencode(".png", noise)[1].tobytes()
  records = plain_records(4)
  records[2]["image"] = image
  directory = write_dataset(tmp_path, train=records)
  source = TrainingSource(directory, "train")
  stored = StoredPictures(source, [2, 0])
  assert list(stored) == [image, picture(0)]
  (shard,) = directory.glob("*train*")
  damage(shard, image)
  assert stored[1] == picture(0)
  with pytest.raises(BadRecord, match="unreadable record"):
    StoredPictures(TrainingSource(directory, "train"), [2])[0]


def test_a_damaged_record_spares_the_others(tmp_path):
  noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
  image = cv2.imencode(".png", noise)[1].tobytes()
  records = plain_records(20)
  records[7]["image"] = image
  directory = write_dataset(tmp_path, train=records)
  (shard,) = directory.glob("*train*")
  damage(shard, image)
  source = TrainingSource(directory, "train")
  with pytest.raises(BadRecord, match="unreadable"):
    source[7]
  assert [source[n].id for n in (6, 8)] == ["r6", "r8"]


@pytest.mark.parametrize("caption", [None, b"caf\xe9"])
def test_a_record_without_its_fields_or_in_another_encoding(small, caption):
  source = TrainingSource(small, "train")
  example = tf_example_pb2.Example.FromString(source._records[0])
  captions = example.features.feature["captions"].bytes_list.value
  if caption is None:
    del example.features.feature["id"]
  else:
    captions[0] = caption
  source._records = [example.SerializeToString()]
  with pytest.raises(BadRecord, match="unreadable record"):
    source[0]
