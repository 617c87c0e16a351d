import numpy as np
import pytest

from data.schema import record
from slan_jax.input.errors import InputError
from slan_jax.input.gallery import retrieval_split
from tests.input.prepared import (
  evaluation_config,
  picture,
  plain_records,
  write_dataset,
)


def shown(gallery):
  return gallery.images[np.arange(len(gallery.ids))][:, 0, 0, 0].tolist()


def test_pictures_and_texts_keep_their_order(tmp_path):
  records = plain_records(5)
  for number, made in enumerate(records):
    made["captions"] = ["a red dog"] * number + ["a blue cat"]
  directory = write_dataset(tmp_path, test=records)
  gallery = retrieval_split(directory, "test", evaluation_config())
  assert gallery.ids == ["r0", "r1", "r2", "r3", "r4"]
  assert shown(gallery) == [0, 1, 2, 3, 4]
  assert gallery.text_image.tolist() == [
    0,
    *[1] * 2,
    *[2] * 3,
    *[3] * 4,
    *[4] * 5,
  ]
  decoded = [gallery.encoder.decode(row) for row in gallery.tokens]
  assert decoded == gallery.texts
  assert gallery.mask.sum(1).tolist() == [5] * 15
  first = retrieval_split(
    directory, "test", evaluation_config(), captions="first"
  )
  assert first.text_image.tolist() == [0, 1, 2, 3, 4]
  assert first.texts == ["a blue cat", *["a red dog"] * 4]


def test_records_of_one_picture_are_joined(tmp_path):
  records = plain_records(3)
  records.append(record("r0", picture(0), (16, 16), ["a cat"]))
  directory = write_dataset(tmp_path, test=records)
  gallery = retrieval_split(directory, "test", evaluation_config())
  assert gallery.ids == ["r0", "r1", "r2"]
  assert gallery.text_image.tolist() == [0, 0, 1, 2]
  assert gallery.texts[1] == "a cat"
  assert len(set(gallery.image_ids)) == 3


def test_pictures_that_share_a_number_stay_apart(tmp_path):
  records = plain_records(2)
  records[1]["image_id"] = records[0]["image_id"]
  directory = write_dataset(tmp_path, test=records)
  gallery = retrieval_split(directory, "test", evaluation_config())
  assert gallery.ids == ["r0", "r1"]
  assert gallery.text_image.tolist() == [0, 1]


def test_unusable_records_are_left_out_and_counted(tmp_path):
  records = plain_records(4)
  records[1] = record("broken", b"text", (16, 16), ["a dog"])
  records[2] = record("mute", picture(2), (16, 16), [" "])
  directory = write_dataset(tmp_path, test=records)
  gallery = retrieval_split(directory, "test", evaluation_config(), limit=2)
  assert gallery.ids == ["r0", "r3"]
  assert gallery.text_image.tolist() == [0, 1]
  assert gallery.skipped == {"corrupt image": 1, "empty caption": 1}
  every = retrieval_split(
    directory, "test", evaluation_config(), captions="any"
  )
  assert every.ids == ["r0", "mute", "r3"]
  assert every.text_image.tolist() == [0, 2]
  assert every.skipped == {"corrupt image": 1}


def test_limit_takes_the_first_pictures(scenes):
  config = evaluation_config(image_size=64, max_length=32)
  small = retrieval_split(scenes, "test", config, limit=7)
  whole = retrieval_split(scenes, "test", config)
  assert small.ids == whole.ids[:7] and len(whole.ids) == 30
  count = len(small.texts)
  assert small.texts == whole.texts[:count]
  assert whole.text_image[count] == 7
  assert len(set(whole.texts)) == len(whole.texts)


def test_nothing_usable_is_an_error(tmp_path):
  directory = write_dataset(tmp_path, test=plain_records(2, captions=[""]))
  with pytest.raises(InputError, match="no usable record"):
    retrieval_split(directory, "test", evaluation_config())


def test_a_digest_tells_galleries_apart(tmp_path):
  def told(name, numbers, caption="a red dog", **options):
    records = [
      record(f"r{number}", picture(number), (16, 16), [caption])
      for number in numbers
    ]
    directory = write_dataset(tmp_path / name, test=records)
    made = retrieval_split(directory, "test", evaluation_config(), **options)
    return made.digest()

  plain = told("a", [0, 1, 2])
  assert plain == told("b", [0, 1, 2])
  others = [
    told("c", [1, 0, 2]), told("d", [0, 1, 3]), told("e", [0, 1, 2], limit=2),
    told("f", [0, 1, 2], "a blue cat"),
  ]  # fmt: skip
  assert len({plain, *others}) == 5
