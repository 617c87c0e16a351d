import numpy as np

from data.findings import ERROR, WARNING, Finding, Findings, boxes_of
from data.schema import record


def look(findings, name, split="train", notes=(), image=None, **more):
  size = more.pop("size", (100, 80))
  captions = more.pop("captions", [f"a dog called {name}"])
  image = name.encode() if image is None else image
  made = record(name, image, size, captions, **more)
  findings.look(split, made, list(notes))


def told(findings):
  return {(level, what): count for level, what, count, _ in findings.table()}


def test_a_clean_set_has_no_findings():
  findings = Findings()
  look(findings, "a")
  look(findings, "b", "val")
  assert findings.table() == []
  assert findings.splits["train"].held["captions"] == 1
  assert findings.splits["val"].sizes == [(100, 80)]


def test_repetitions_are_found():
  findings = Findings()
  look(findings, "a", image=b"1", captions=["a dog", "a dog"])
  look(findings, "b", image=b"1", captions=["a dog"])
  look(findings, "c", "val", image=b"1")
  look(findings, "c", "val")
  assert told(findings) == {
    (ERROR, "id repeated: only the first one is kept"): 1,
    (WARNING, "caption repeated within a record"): 1,
    (WARNING, "caption of an earlier record again"): 2,
    (WARNING, "picture repeated"): 1,
    (WARNING, "picture of train again in val"): 1,
  }


def test_pictures_of_pairs_may_repeat():
  findings = Findings()
  for name in "ab":
    made = record(name, b"1", (100, 80), [])
    findings.look("train", {**made, "more_images": {}}, [])
  assert findings.table() == []


def test_odd_sizes_and_long_captions_are_found():
  findings = Findings()
  look(findings, "small", size=(63, 64))
  look(findings, "thin", size=(401, 100))
  look(findings, "large", size=(4001, 4000))
  look(findings, "long", captions=["word " * 30, "word " * 31])
  assert told(findings) == {
    (WARNING, "picture under 64 pixels"): 1,
    (WARNING, "picture over 4,000 pixels"): 1,
    (WARNING, "picture longer than 4:1"): 1,
    (WARNING, "caption over 30 words: its end is cut"): 1,
  }


def test_what_is_lost_is_an_error_and_stands_first():
  findings = Findings()
  look(findings, "a", notes=["image: turned upright"] * 2)
  look(findings, "b", notes=["phrase: dropped, not in its caption"])
  for name in "cdefg":
    findings.add(ERROR, "left out: image missing", name)
  lines = [
    Finding(ERROR, "left out: image missing", 5, ["c", "d", "e"]),
    Finding(ERROR, "phrase: dropped, not in its caption", 1, ["b"]),
    Finding(WARNING, "image: turned upright", 2, ["a", "a"]),
  ]
  assert findings.table() == lines


def objects(*boxes):
  return [("dog", box, False) for box in boxes]


def test_boxes_of_another_form_are_told_from_slips():
  inside = [0.2, 0.2, 0.9, 0.9]
  beyond = "many boxes reach beyond the picture: is x1, y1, x2, y2 meant?"
  for slips, expected in ((4, False), (6, True)):
    findings = Findings()
    notes = ["box: clipped to the picture"] * slips
    look(findings, "a", notes=notes, objects=objects(*[inside] * 20))
    assert ((ERROR, beyond) in told(findings)) == expected
  findings = Findings()
  tiny = [0.001, 0.001, 0.009, 0.01]
  look(findings, "a", objects=objects(*[tiny] * 6, *[inside] * 6))
  (line,) = findings.table()
  assert line.count == 6 and "first pixel" in line.what


def test_boxes_of_phrases_and_objects_come_together():
  made = record(
    "a",
    b"",
    (9, 9),
    ["a dog"],
    phrases=[("a dog", 0, 0, 5)],
    phrase_boxes=[(0, [0, 0, 1, 1])],
    objects=objects([0, 0, 0.5, 0.5]),
  )
  np.testing.assert_array_equal(
    boxes_of(made), [[0, 0, 1, 1], [0, 0, 0.5, 0.5]]
  )
  assert boxes_of(record("a", b"", (9, 9), [])).shape == (0, 4)
