import base64
import re

import cv2
import numpy as np

from data import inspect
from data.page import write_page
from data.parts import image_fields, question_fields, statement_fields
from data.row import QuestionRow, StatementRow
from data.schema import record
from tests.data.coco_source import encoded
from tests.input.prepared import write_dataset


def pictures(page):
  """Decoded pictures of a page, in order."""
  found = re.findall(r'"data:image/\w+;base64,([^"]+)"', page)
  buffers = [np.frombuffer(base64.b64decode(text), np.uint8) for text in found]
  return [cv2.imdecode(buffer, cv2.IMREAD_COLOR) for buffer in buffers]


def shown(**more):
  made = record(
    "<a>",
    encoded(720, 360),
    (720, 360),
    ["a dog & a cat"],
    phrases=[("a dog", 0, 0, 5)],
    phrase_boxes=[(0, [0, 0, 0.5, 1])],
    objects=[("cat", [0.25, 0.5, 0.75, 1], True)],
  )
  return write_page("title", {"train": [{**made, **more}]}, [], {"train": 9})


def test_boxes_are_drawn_where_they_are():
  page = shown()
  (picture,) = pictures(page)
  assert picture.shape == (180, 360, 3)
  assert 'x="0.0" y="0.0" width="180.0" height="180.0"' in page
  assert 'x="90.0" y="90.0" width="180.0" height="90.0"' in page
  assert ">a dog</text>" in page and ">cat (crowd)</text>" in page


def test_words_cannot_break_the_page():
  page = shown()
  assert "&lt;a&gt;, 720x360" in page and "a dog &amp; a cat" in page
  assert "1 of 9 records" in page
  assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_what_other_tasks_have_is_shown():
  questions = [
    QuestionRow("1", "why?", "", {"so": 9, "no": 1}),
    QuestionRow("2", "who?", "", {}),
  ]
  page = shown(
    **question_fields(questions),
    **statement_fields([StatementRow("it is so", False, "g")]),
    **image_fields([(encoded(50, 40), (50, 40))]),
  )
  assert "why? <b>so (9), no (1)</b>" in page and "who? <b></b>" in page
  assert "it is so <b>false</b>" in page
  assert [picture.shape for picture in pictures(page)] == [
    (180, 360, 3),
    (40, 50, 3),
  ]


def test_a_page_of_a_prepared_directory(tmp_path):
  records = [
    record(f"r{n}", encoded(40, 30, n), (40, 30), ["a red dog"])
    for n in range(5)
  ]
  folder = tmp_path / "made"
  folder.mkdir()
  made = write_dataset(folder, train=records, val=records[:1])
  (made / "report.json").write_text('{"files": {}}')
  output = tmp_path / "deep" / "page.html"
  arguments = [str(made), "--output", str(output), "--samples", "3"]
  assert inspect.main(arguments) == 0
  page = output.read_text()
  assert re.findall(r">(r\d),", page) == ["r0", "r2", "r4", "r0"]
  # Three histograms, then the samples.
  assert len(pictures(page)) == 3 + 4
  assert list(output.parent.iterdir()) == [output]


def test_something_else_is_refused(tmp_path, capsys):
  assert inspect.main([str(tmp_path)]) == inspect.USAGE_ERROR
  assert "data.prepare" in capsys.readouterr().err
