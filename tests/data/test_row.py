import json
import pickle

import pytest
from etils import epath

from data.clip import Clip
from data.errors import PreparationError
from data.row import ObjectRow, PhraseRow, QuestionRow, Row, StatementRow
from data.sources.flickr30k import Flickr30k
from data.sources.manifest import Manifest
from data.sources.msrvtt import MsrVtt


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
  assert json.dumps(back._asdict()) == json.dumps(row._asdict())


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
  with pytest.raises(PreparationError, match="another form"):
    list(Flickr30k(epath.Path(tmp_path)).items())


def test_a_source_has_the_usual_options():
  assert MsrVtt(epath.Path("x")).clip == Clip(8, "uniform", 0)
