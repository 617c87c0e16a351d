import numpy as np
import pytest
from etils import epath

from data.errors import PreparationError
from data.sources.flickr_entities import FlickrEntities, parse_sentence
from tests.data.coco_source import encoded
from tests.data.sources.reading import put, read

# Made up, in the form of the official files.
SENTENCES = """\
[/EN#11/people Two young men] on [/EN#14/scene a street] .
[/EN#11/bodyparts/people A man 's arm] and [/EN#0/notvisual it] \
near [/EN#12/other a red (old) car]
[/EN#13/clothing A hat] is missing .
"""
ANNOTATIONS = """\
<annotation>
  <filename>7.jpg</filename>
  <size><width>40</width><height>30</height><depth>3</depth></size>
  <object><name>11</name><name>12</name>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>21</xmax><ymax>16</ymax></bndbox>
  </object>
  <object><name>11</name>
    <bndbox><xmin>21</xmin><ymin>16</ymin><xmax>41</xmax><ymax>31</ymax></bndbox>
  </object>
  <object><name>14</name><scene>1</scene><nobndbox>0</nobndbox></object>
  <object><name>13</name><scene>0</scene><nobndbox>1</nobndbox></object>
</annotation>
"""


def write(folder, names=("7",), split="test"):
  for name in names:
    put(folder / "Sentences" / f"{name}.txt", SENTENCES.encode())
    put(folder / "Annotations" / f"{name}.xml", ANNOTATIONS.encode())
    put(folder / "flickr30k-images" / f"{name}.jpg", encoded(40, 30))
  (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
  return FlickrEntities(epath.Path(folder))


def test_marks_are_taken_out_of_a_sentence():
  caption, phrases = parse_sentence(SENTENCES.splitlines()[1])
  assert caption == "A man 's arm and it near a red (old) car"
  assert [(text, chain, kind) for text, _, _, chain, kind in phrases] == [
    ("A man 's arm", "11", "bodyparts/people"),
    ("it", "0", "notvisual"),
    ("a red (old) car", "12", "other"),
  ]
  assert all(caption[start:end] == text for text, start, end, *_ in phrases)
  assert parse_sentence("No marks at all .") == ("No marks at all .", [])


def test_phrases_have_every_box_of_their_chain(tmp_path):
  records, lost = read(write(tmp_path))
  record = records["test"]["7"]
  assert lost == [] and len(record["captions"]) == 3
  texts = record["phrases"]["text"]
  assert record["phrase_kinds"][:3] == ["people", "scene", "bodyparts/people"]
  assert texts[0] == "Two young men" and texts[-1] == "A hat"
  boxes = {
    texts[n]: record["phrase_boxes"]["box"][
      record["phrase_boxes"]["phrase"] == n
    ].tolist()
    for n in range(len(texts))
  }
  left, right = [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]
  assert boxes == {
    "Two young men": [left, right],
    "a street": [],  # the scene
    "A man 's arm": [left, right],
    "it": [],  # not visual
    "a red (old) car": [left],  # one box of two chains
    "A hat": [],  # not to be seen
  }


def test_missing_files_cost_no_more_than_they_hold(tmp_path):
  source = write(tmp_path, ("7", "8", "9"), "train")
  (tmp_path / "Sentences" / "8.txt").unlink()
  (tmp_path / "Annotations" / "9.xml").write_text("<annotation>")
  records, lost = read(source)
  assert lost == [("sentences missing or not UTF-8", "8")]
  assert list(records["train"]) == ["7", "9"]
  assert len(records["train"]["9"]["phrases"]["text"]) == 6
  assert len(records["train"]["9"]["phrase_boxes"]["box"]) == 0
  (row,) = [row for row in source.listing().splits["train"] if row.name == "9"]
  assert row.notes == ("annotations missing or broken: no boxes",)


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("<annotation>", '<?xml version="1.0" encoding="x-none"?><annotation>'),
    ("<xmin>1<", "<xmin>one<"),
  ],
)
def test_an_odd_xml_costs_the_boxes(tmp_path, old, new):
  source = write(tmp_path)
  path = tmp_path / "Annotations" / "7.xml"
  path.write_text(path.read_text().replace(old, new, 1))
  records, lost = read(source)
  assert lost == [] and len(records["test"]["7"]["captions"]) == 3
  assert len(records["test"]["7"]["phrase_boxes"]["box"]) == 0


def test_an_id_that_climbs_is_never_opened(tmp_path):
  source = write(tmp_path / "in", ("7",))
  put(tmp_path / "secret.txt", b"a secret")
  with (tmp_path / "in" / "test.txt").open("ab") as file:
    file.write(b"../../secret\n\xff\n")
  records, lost = read(source)
  assert list(records["test"]) == ["7"]
  assert lost == [
    ("line is not UTF-8", "test.txt:3"),
    ("path leaves the source", "../../secret"),
  ]


def test_what_is_missing_is_named(tmp_path):
  source = FlickrEntities(epath.Path(tmp_path))
  with pytest.raises(PreparationError, match="Sentences/"):
    source.listing()
  (write(tmp_path).root / "test.txt").unlink()
  with pytest.raises(PreparationError, match="no list of ids"):
    source.listing()


def test_a_picture_of_another_size_loses_its_boxes(tmp_path):
  source = write(tmp_path)
  put(tmp_path / "flickr30k-images" / "7.jpg", encoded(80, 60))
  records, _ = read(source)
  assert np.size(records["test"]["7"]["phrase_boxes"]["box"]) == 0
