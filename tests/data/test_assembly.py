import numpy as np
import pytest

from data.assembly import assemble
from data.errors import Unusable
from data.source import Example
from tests.data.coco_source import encoded

GOOD = encoded(40, 30)


def test_a_clean_example_is_stored_as_it_is():
  example = Example(
    "7",
    GOOD,
    ["a dog", "the red dog"],
    size=(40, 30),
    phrases=[("the red dog", 1, 0, 11), ("a dog", 0, 0, 5)],
    phrase_boxes=[(1, [0, 0, 1, 1])],
    objects=[("dog", [0, 0, 0.5, 1], True)],
    extra={"answers": ["yes"]},
  )
  record, notes = assemble(example)
  assert notes == []
  assert record["id"] == "7" and record["image"] == GOOD
  assert (record["width"], record["height"]) == (40, 30)
  assert record["phrases"]["caption"].tolist() == [1, 0]
  assert record["phrase_boxes"]["phrase"].tolist() == [1]
  assert record["objects"]["crowd"].tolist() == [True]
  assert record["answers"] == ["yes"]


def test_kinds_and_areas_go_with_their_phrases_and_objects():
  example = Example(
    "7",
    GOOD,
    ["a dog"],
    phrases=[("gone", 0, 0, 4), ("a dog", 0, 0, 5)],
    objects=[("cat", [2, 2, 3, 3], False), ("dog", [0, 0, 1, 1], False)],
    extra={"phrase_kinds": ["other", "animals"], "object_areas": [3.0, 70.0]},
  )
  record, _ = assemble(example)
  assert record["phrase_kinds"] == ["animals"]
  assert record["objects"]["label"] == ["dog"]
  assert record["object_areas"].tolist() == [70.0]


def test_numbers_follow_what_is_left():
  example = Example(
    "7",
    GOOD,
    ["", "a dog", "a\0cat"],
    phrases=[
      ("gone", 0, 0, 4),
      ("a dog", 1, 0, 5),
      ("a dog", 1, 1, 6),
      ("a cat", 2, 0, 5),
      ("far", 9, 0, 3),
    ],
    phrase_boxes=[
      (0, [0, 0, 1, 1]),
      (1, [0, 0, 1, 0.5]),
      (3, [0, 0, 0.5, 1]),
      (3, [0, 0, 0, 0]),
    ],
  )
  record, notes = assemble(example)
  assert record["captions"] == ["a dog", "a cat"]
  assert record["phrases"]["text"] == ["a dog", "a cat"]
  assert record["phrases"]["caption"].tolist() == [0, 1]
  assert record["phrase_boxes"]["phrase"].tolist() == [0, 1]
  np.testing.assert_array_equal(
    record["phrase_boxes"]["box"], [[0, 0, 1, 0.5], [0, 0, 0.5, 1]]
  )
  assert sorted(notes) == [
    "box: dropped, empty or outside",
    "caption: control characters dropped",
    "caption: dropped, empty",
    *["phrase: dropped, not in its caption"] * 3,
  ]


def test_boxes_of_another_size_are_dropped():
  boxes = [("dog", [0, 0, 1, 1], False)]
  example = Example("7", GOOD, ["x"], size=(80, 60), objects=boxes)
  record, notes = assemble(example)
  assert record["objects"]["label"] == []
  assert notes == ["boxes: dropped, picture differs in size"]
  assert assemble(example._replace(objects=()))[1] == []


@pytest.mark.parametrize(
  ("example", "reason"),
  [
    (Example("7", GOOD, [" ", None]), "no caption"),
    (Example("\0", GOOD, ["x"]), "record without a name"),
    (Example("7", b"", ["x"]), "image empty"),
  ],
)
def test_what_is_unusable_says_why(example, reason):
  with pytest.raises(Unusable, match=reason):
    assemble(example)


def test_other_tasks_need_no_caption():
  example = Example("7", GOOD, [], captionless=True, notes=["box: lost"])
  record, notes = assemble(example)
  assert record["captions"] == [] and notes == ["box: lost"]
  with pytest.raises(Unusable, match="no caption"):
    assemble(example._replace(captionless=False))
