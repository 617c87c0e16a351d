import json
import pickle

import pytest
from etils import epath

from data.clip import Clip
from data.errors import PreparationError
from data.row import (
  ObjectRow,
  PhraseRow,
  QuestionRow,
  Row,
  StatementRow,
  cleaned,
)
from data.sources.flickr30k import Flickr30k
from data.sources.manifest import Manifest
from data.sources.msrvtt import MsrVtt
from tests.data.coco_source import encoded
from tests.data.reading import counts, read_source


def test_a_row_survives_json():
  row = Row(
    name="a",
    images=("a.png", "b.png"),
    captions=("a dog",),
    phrases=(PhraseRow("a dog", 0, 0, 5, ((1.0, 2.0, 3.0, 4.0),)),),
    objects=(ObjectRow("dog", (1.0, 2.0, 3.0, 4.0), True),),
    questions=(QuestionRow("q", "why?", "other", {"so": 3}),),
    statements=(StatementRow("it is so", True, "g"),),
    clip=Clip(8, "uniform", 0),
    size=(4, 5),
  )
  back = Row.thaw(json.loads(json.dumps(row._asdict())))
  assert back.phrases[0].text == "a dog" and back.clip == row.clip
  assert back.questions == row.questions and back.size == (4, 5)
  assert (back.captions, back.needs) == (row.captions, row.needs)
  assert json.dumps(back._asdict()) == json.dumps(row._asdict())


def test_a_picture_without_a_caption_is_no_record(tmp_path):
  """Also where the row has come from another process."""
  (tmp_path / "1.jpg").write_bytes(encoded(40, 30))
  entry = {"filename": "1.jpg", "split": "val", "sentences": [{"raw": "\0"}]}
  table = json.dumps({"images": [entry]})
  (tmp_path / "dataset_flickr30k.json").write_text(table)
  _, report = read_source(Flickr30k(epath.Path(tmp_path)))
  assert counts(report) == {"no caption": 1}


def test_other_processes_are_told_the_fields_but_not_the_rows(tmp_path):
  path = tmp_path / "my.jsonl"
  path.write_text('{"image": "a", "questions": [{"question": "why?"}]}')
  source = Manifest(epath.Path(path))
  assert set(source.fields()) == {"questions", "answers"}
  path.unlink()
  copy = pickle.loads(pickle.dumps(source))
  assert set(copy.fields()) == {"questions", "answers"}
  assert len(pickle.dumps(source)) < 1000


def test_annotations_of_another_form_are_refused(tmp_path):
  path = tmp_path / "dataset_flickr30k.json"
  entry = {"filename": 3, "split": "a", "sentences": [1]}
  path.write_text(json.dumps({"images": [entry]}))
  with pytest.raises(PreparationError, match=r"entry 0 .* lacks filename"):
    list(Flickr30k(epath.Path(tmp_path)).items())

  class Unforeseen(Flickr30k):
    def read_listing(self):
      raise KeyError("filename")

  with pytest.raises(PreparationError, match=r"another form .*KeyError"):
    list(Unforeseen(epath.Path(tmp_path)).items())


def test_a_row_without_a_name_has_a_label():
  source = MsrVtt(epath.Path("x"))
  assert source.label({"name": ""}) == ""
  assert source.label({"left_out": "no text", "where": "a:3"}) == "a:3"


def test_texts_that_cannot_be_stored_are_cleaned():
  row = Row(
    name="a",
    images=("a.png",),
    questions=(
      QuestionRow("q\x00", "why\ud800 so?", "", {"yes\x1b": 2, "yes": 1}),
      QuestionRow("r", "\ud800", "", {"no": 1}),
      QuestionRow("s", "how?", "", {"\x00": 1}),
      QuestionRow("t", "a test's", "", {}),
    ),
    statements=(
      StatementRow("\ufffdso", True, "g"),
      StatementRow("\0", True, ""),
    ),
  )
  made = cleaned(row)
  assert [q[:2] for q in made.questions] == [
    ("q", "why so?"),
    ("t", "a test's"),
  ]
  assert made.questions[0].answers == {"yes": 3}
  assert made.statements == (StatementRow("so", True, "g"),)
  assert made.notes.count("question: dropped, no text or no answer") == 2
  assert "statement: dropped, no text" in made.notes
  assert "answer: control characters dropped" in made.notes
  assert cleaned(made) == made


def test_a_source_has_the_usual_options():
  assert MsrVtt(epath.Path("x")).clip == Clip(8, "uniform", 0)
