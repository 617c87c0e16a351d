"""Cases that are kept, and the page that shows them."""

import html.parser
import re

import numpy as np
import pytest

from slan_jax.evaluation import report
from slan_jax.evaluation.cases import Case, extremes, read_cases, save_cases
from slan_jax.evaluation.task_report import (
  Curve,
  Entry,
  colour,
  headline,
  read_curves,
  save_curves,
  write_page,
)
from slan_jax.jobs import task_report

FOUND = {
  "task": "vqa",
  "protocol": "Ten people & one <model>.",
  "score": "rank",
  "checkpoint_step": 4,
  "config_hash": "0",
  "samples": {"questions": 1200},
  "metrics": {"vqa_accuracy": 61.25, "vqa_accuracy_colour": 70.0, "other": 1.0},
  "chance": {"vqa_accuracy": 30.0},
  "untrained": {"vqa_accuracy": 12.5},
}


def picture(side: int = 4, count: int = 1) -> np.ndarray:
  return np.full((count, side, side, 3), 200, np.uint8)


def test_extremes_are_best_then_worst_and_never_twice():
  assert extremes([1.0, 3.0, 2.0, 0.0, 5.0], shown=2) == [4, 1, 0, 3]
  assert extremes([1.0, 3.0, 2.0], shown=2) == [1, 2, 0]
  assert extremes([2.0, 2.0], shown=2) == [0, 1]


def test_cases_come_back(tmp_path):
  assert read_cases(tmp_path) == []
  boxes = [[0.0, 0.25, 0.5, 1.0]]

  def make(row):
    return Case(picture(count=2), f"the ring {row}", ["yes"], row, boxes, ["r"])

  save_cases(tmp_path, range(40), make)
  cases = read_cases(tmp_path)
  assert [case.score for case in cases] == [
    *range(39, 31, -1),
    *range(7, -1, -1),
  ]
  assert cases[0].images.shape == (2, 4, 4, 3) and cases[0].lines == ["yes"]
  np.testing.assert_array_equal(cases[0].boxes, boxes)
  (tmp_path / "cases.npz").write_bytes(b"PK")
  with pytest.raises(ValueError, match=r"cases\.npz is damaged"):
    read_cases(tmp_path)


class Tags(html.parser.HTMLParser):
  """Start tags and their attributes; every opened tag must close."""

  def __init__(self):
    super().__init__()
    self.seen, self.open = [], []

  def handle_starttag(self, tag, attributes):
    self.seen.append((tag, dict(attributes)))
    if tag not in ("meta", "image", "polyline"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_other_file():
  cases = [
    Case(
      picture(), "a <ring> here", ["red"], 1.0, [[0, 0.5, 1, 1]], ["<ring>"]
    ),
    Case(picture(count=3), "which?", ["two & three"], 0.0),
  ]
  curve = Curve("circle", [0.0, 1.0], [1.0, 0.25])
  scratch = FOUND | {"metrics": {"vqa_accuracy": 33.25}}
  page = write_page("All", [Entry(FOUND, scratch, cases, [curve])])
  tags = Tags()
  tags.feed(page.replace("/>", ">").replace("</image>", ""))
  links = [a["href"] for _, a in tags.seen if "href" in a]
  assert links.count("#vqa") == 1 and len(links) == 5
  assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
  (box,) = [a for tag, a in tags.seen if tag == "rect"]
  assert (box["x"], box["y"], box["width"], box["height"]) == (
    "0.0", "2.0", "4.0", "2.0",
  )  # fmt: skip
  word = f'<span style="color:{colour("<ring>")}">&lt;ring&gt;</span>'
  assert f"a {word} here" in page and box["stroke"] == colour("<ring>")
  assert 'points="0.000,0.000 1.000,0.750"' in page
  assert "Ten people &amp; one &lt;model&gt;." in page
  row = re.search(r"VQA accuracy</td>(.*?)</tr>", page)[1]
  assert re.findall(r"<td>(.*?)</td>", row) == ["61.2", "33.2", "12.5", "30.0"]
  assert "1 further metrics" in page and "Worst cases" in page


def test_the_headline_is_the_first_row_that_was_measured():
  assert headline(FOUND) == "vqa_accuracy"
  assert headline({"task": "unheard", "metrics": {"x": 1.0}}) == "x"
  assert headline({"task": "vqa", "metrics": {}}) == ""


def test_a_directory_of_runs_becomes_a_page(tmp_path, capsys):
  with pytest.raises(ValueError, match="score runs first"):
    task_report.report(tmp_path, tmp_path / "page.html")
  for root in ("runs", "scratch"):
    place = tmp_path / root / "vqa" / "eval" / "vqa"
    report.write_report(place / "metrics.json", FOUND)
  place = tmp_path / "runs" / "vqa" / "eval" / "vqa"
  save_curves(place, [Curve("ring", [0.0], [1.0])])
  assert read_curves(place) == [Curve("ring", [0.0], [1.0])]
  page = tmp_path / "page.html"
  code = task_report.report(
    tmp_path / "runs", page, scratch=tmp_path / "scratch"
  )
  assert code == 0 and "VQA accuracy" in capsys.readouterr().out
  assert page.read_text().count("61.2") == 4  # model and scratch, twice
  with pytest.raises(ValueError, match=r"ends in \.html"):
    task_report.report(tmp_path / "runs", tmp_path / "page.pdf")
  (place / "curves.json").write_text("[1]")
  with pytest.raises(ValueError, match=r"curves\.json is damaged"):
    read_curves(place)
