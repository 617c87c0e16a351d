import json
import random

import numpy as np
import pytest

from data.schema import record
from slan_jax.input.classes import Classes, chosen_classes, read_classes
from slan_jax.input.detection import ObjectMaker, detection_split
from slan_jax.input.errors import InputError
from slan_jax.input.window import boxed_picture
from tests.input.prepared import (
  evaluation_config,
  input_config,
  picture,
  plain_records,
  write_dataset,
)

LEFT, RIGHT = [0.0, 0.25, 0.5, 0.75], [0.5, 0.0, 1.0, 1.0]
CLASSES = Classes(("cat", "dog"), (17, 3))
GAPS = [{"id": 17, "name": "cat"}, {"id": 3, "name": "dog"}]


def scene(name="a", objects=None, image=None):
  if objects is None:
    objects = [("dog", LEFT, False), ("cat", RIGHT, False)]
  data = picture(100) if image is None else image
  return record(name, data, (16, 16), [], objects=objects)


def made(tmp_path, *records, categories=None):
  if categories is not None:
    (tmp_path / "categories.json").write_text(json.dumps(categories))
  return write_dataset(tmp_path, train=list(records))


def row(directory, seed=0, boxes=3, **changes):
  maker = ObjectMaker(directory, input_config(**changes), boxes=boxes)
  return maker, maker.example(maker.open(directory)[0], random.Random(seed))


def test_rows_hold_boxes_and_labels(tmp_path):
  maker, example = row(made(tmp_path, scene(), categories=GAPS))
  batch, cut = maker.batch([example])
  np.testing.assert_allclose(batch["boxes"], [[LEFT, RIGHT, [0] * 4]])
  assert batch["labels"].tolist() == [[1, 0, -1]] and cut == []
  assert batch["image"][0, 0, 0, 0] == 100


def test_a_flip_takes_the_boxes_along(tmp_path):
  directory = made(tmp_path, scene())
  seen = set()
  for seed in range(12):
    _, example = row(directory, seed, flip=True)
    seen.add((int(example.image[0, 0, 0]), *example.boxes.ravel().tolist()))
  assert seen == {
    (100, *LEFT, *RIGHT),
    (0, 0.5, 0.25, 1.0, 0.75, 0.0, 0.0, 0.5, 1.0),
  }


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_keeps_boxes_on_their_pixels(seed):
  """The left half is grey; its box must follow it through any crop."""
  config = input_config(image_size=64, crop_scale=(0.3, 1.0), flip=True)
  grey_half = np.array([[0.0, 0.0, 0.5, 1.0]])
  image, boxes, kept, _ = boxed_picture(
    picture(200, side=64), (64, 64), grey_half, config, random.Random(seed)
  )
  columns = np.flatnonzero(image[32, :, 0] > 100)
  if not len(columns):
    assert not kept[0]
    return
  left, right = columns[0] / 64, (columns[-1] + 1) / 64
  np.testing.assert_allclose(boxes[0, [0, 2]], [left, right], atol=0.05)
  np.testing.assert_allclose(boxes[0, [1, 3]], [0, 1])


def test_objects_out_of_the_window_are_left_out():
  config = input_config(crop_scale=(0.05, 0.1))
  kept = [
    boxed_picture(
      picture(1, side=64),
      (64, 64),
      np.array([[0.4, 0.4, 0.6, 0.6]]),
      config,
      random.Random(seed),
    )[2][0]
    for seed in range(40)
  ]
  assert 0 < sum(kept) < 40


def test_crowds_and_unknown_classes_are_not_trained_on(tmp_path):
  objects = [("dog", LEFT, True), ("emu", LEFT, False), ("cat", RIGHT, False)]
  maker, example = row(made(tmp_path, scene("a", objects), categories=GAPS))
  batch, cut = maker.batch([example])
  assert batch["labels"].tolist() == [[0, -1, -1]]
  assert cut == [(0, "unknown class")]


def test_the_largest_objects_are_kept(tmp_path):
  objects = [("dog", LEFT, False), ("cat", RIGHT, False)]
  maker, example = row(made(tmp_path, scene("a", objects)), boxes=1)
  batch, cut = maker.batch([example])
  np.testing.assert_allclose(batch["boxes"], [[RIGHT]])
  assert cut == [(0, "too many objects")]
  (tmp_path / "b").mkdir()
  empty = row(made(tmp_path / "b", scene(objects=[]), categories=GAPS))[1]
  assert maker.batch([empty])[0]["labels"].tolist() == [[-1]]


def test_moving_augmentation_is_refused(tmp_path):
  with pytest.raises(InputError, match=r"data\.randaugment is \(2, 5\)"):
    row(made(tmp_path, scene()), randaugment=(2, 5))


def test_a_split_keeps_numbers_with_gaps_crowds_and_empty_pictures(tmp_path):
  records = [
    scene("139", [("dog", LEFT, True)]),
    scene("7", []),
    scene("x", image=b"text"),
    scene("other", [("cat", RIGHT, False), ("emu", LEFT, False)]),
  ]
  directory = made(tmp_path, *records, categories=GAPS)
  split = detection_split(directory, "train", evaluation_config())
  assert split.ids == ["139", "7", "other"]
  assert split.image_ids[:2].tolist() == [139, 7]
  assert split.image_ids[2] == records[3]["image_id"]
  assert split.classes == CLASSES
  assert split.sizes.tolist() == [[16, 16]] * 3
  assert [o.labels.tolist() for o in split.objects] == [[1], [], [0]]
  assert split.objects[0].crowd.tolist() == [True]
  assert split.objects[0].areas.tolist() == [0]  # not known
  np.testing.assert_allclose(split.objects[2].boxes, [RIGHT])
  assert split.skipped == {"corrupt image": 1, "unknown class": 1}


def test_areas_are_read_where_there_are_any(tmp_path):
  record = {**scene("7"), "object_areas": np.array([5, 70], np.float32)}
  write_dataset(tmp_path, parts=("object_areas",), test=[record])
  split = detection_split(
    tmp_path, "test", evaluation_config(), classes=Classes(("cat",), (17,))
  )
  assert split.objects[0].areas.tolist() == [70]
  assert split.skipped == {"unknown class": 1}


def test_classes_without_a_file_are_the_labels(tmp_path, scenes):
  assert read_classes(made(tmp_path, scene())) == Classes(
    ("cat", "dog"), (1, 2)
  )
  shapes = ("circle", "cross", "ring", "square", "star", "triangle")
  assert read_classes(scenes).names == shapes


def test_1200_names_are_read_and_duplicates_refused(tmp_path):
  rows = [{"id": 2 * n, "name": f"class {n}"} for n in range(1_200)]
  directory = made(tmp_path, scene(), categories=rows)
  assert len(read_classes(directory).names) == 1_200
  for bad, message in (
    ([*rows, {"id": 1, "name": "class 7"}], "name 'class 7' stands twice"),
    ([*rows, {"id": 4, "name": "new"}], "id 4 stands twice"),
    ([{"id": 4}], "with id and name"),
    (5, "with id and name"),
  ):
    (tmp_path / "categories.json").write_text(json.dumps(bad))
    with pytest.raises(InputError, match=message):
      read_classes(directory)


def test_chosen_classes_keep_the_numbers_of_the_data(tmp_path):
  rows = [{"id": 3, "name": "cat"}, {"id": 17, "name": "dog"}]
  directory = made(tmp_path, scene(), categories=rows)
  asked = ("bird", "dog", "emu", "cat")
  found = chosen_classes(asked, directory)
  assert found == Classes(asked, (18, 17, 19, 3))
  (tmp_path / "categories.json").unlink()
  labels = chosen_classes(asked, directory)  # as slan-score numbers them
  assert labels == Classes(asked, (3, 2, 4, 1))
  (tmp_path / "categories.json").write_text("{")
  with pytest.raises(InputError, match="with id and name"):
    chosen_classes(asked, directory)


def test_chosen_classes_need_no_data_that_knows_any(tmp_path):
  directory = write_dataset(tmp_path, train=plain_records(1))
  assert chosen_classes(("b", "a"), directory) == Classes(("b", "a"), (1, 2))


def test_data_without_objects_is_an_error(tmp_path):
  directory = write_dataset(tmp_path, train=plain_records(1))
  with pytest.raises(InputError, match="no object of split 'train'"):
    read_classes(directory)


def test_a_split_may_keep_its_objects_secret(tmp_path):
  directory = made(tmp_path, scene("7", []), scene("9", []), categories=GAPS)
  split = detection_split(directory, "train", evaluation_config())
  assert split.ids == ["7", "9"] and split.classes == CLASSES
  assert [len(held.boxes) for held in split.objects] == [0, 0]
  bad = made(tmp_path / "bad", scene("x", [], image=b"text"))
  with pytest.raises(InputError, match="has no usable picture"):
    detection_split(bad, "train", evaluation_config(), classes=CLASSES)


def test_classes_that_no_object_has_are_told(tmp_path):
  directory, emus = made(tmp_path, scene()), Classes(("emu", "kiwi"), (1, 2))
  told = "its 2 objects are of none of the 2 classes asked for, such as 'emu'"
  with pytest.raises(InputError, match=told):
    detection_split(directory, "train", evaluation_config(), classes=emus)


def test_two_pictures_of_one_number_are_refused(tmp_path):
  records = [scene("7"), scene("07")]
  with pytest.raises(InputError, match="same number"):
    detection_split(made(tmp_path, *records), "train", evaluation_config())
