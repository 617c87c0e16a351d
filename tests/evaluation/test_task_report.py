"""Cases that are kept, and the page that shows them."""

import numpy as np
import pytest
from PIL import ImageColor

from slan_jax.evaluation import report
from slan_jax.evaluation.case_gallery import colours
from slan_jax.evaluation.cases import Case, extremes, read_cases, save_cases
from slan_jax.evaluation.table import Scored, kinds
from slan_jax.evaluation.task_report import (
  Curve,
  Entry,
  headline,
  read_curves,
  save_curves,
  write_page,
)
from slan_jax.jobs import task_report
from tests.evaluation import browser

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
    shown = picture(count=2, side=4 if row else 600)
    return Case(shown, f"the {row}", ["yes"], row, boxes, ["r"], boxes, ["t"])

  save_cases(tmp_path, range(40), make)
  cases = read_cases(tmp_path)
  assert [case.score for case in cases] == [
    *range(39, 31, -1),
    *range(7, -1, -1),
  ]
  assert cases[0].images.shape == (2, 4, 4, 3) and cases[0].lines == ["yes"]
  np.testing.assert_array_equal(cases[0].boxes, boxes)
  np.testing.assert_array_equal(cases[0].truth, boxes)
  assert cases[0].labels == ["r"] and cases[0].truth_labels == ["t"]
  assert cases[-1].images.shape == (2, 256, 256, 3)  # reduced
  (tmp_path / "cases.npz").write_bytes(b"PK")
  with pytest.raises(ValueError, match=r"cases\.npz is damaged"):
    read_cases(tmp_path)


RING = (10, 200, 30)  # a colour that nothing else on the page has
HUES = colours(["string", "<ring>"])  # annotated ones first


def entries():
  """Two runs of one task, of which one has cases and a curve."""
  cases = [
    Case(
      np.full((1, 4, 4, 3), RING, np.uint8),
      "a <ring> on a string",
      ["red, no <ring>"],
      1.0,
      [[0, 0.5, 1, 1]],
      ["<ring>"],
      [[0, 0, 1, 0.5]],
      ["string"],
    ),
    Case(picture(side=200, count=3), "which?", ["two & three"], 0.0),
  ]
  curve = Curve("circle", [0.0, 1.0], [1.0, 0.25])
  scratch = FOUND | {"metrics": {"vqa_accuracy": 33.25}}
  return [
    Entry(Scored([FOUND], "", [scratch]), cases, [curve]),
    Entry(Scored([FOUND], "other")),
  ]


def test_the_page_is_valid_and_needs_no_other_file():
  page = write_page("All", entries())
  tree = browser.parse(page)
  sizes = [browser.picture_of(x.attrib["src"]).size for x in tree.iter("img")]
  assert sizes == [(4, 4), (200, 200), (200, 200), (200, 200)]
  rows = [x for x in tree.iter("tr") if (x[0].text or "") == "VQA accuracy"]
  told = [[cell.text for cell in row[1:]] for row in rows]
  assert told == [
    ["61.2", "33.2", "12.5", "30.0"],
    ["61.2", "-", "12.5", "30.0"],
  ]
  kinds = [x for x in tree.iter("tr") if (x[0].text or "") == "colour"]
  assert [cell.text for cell in kinds[0][1:]] == ["70.0", "-", "-", "-"]
  assert "Ten people &amp; one &lt;model&gt;." in page
  assert page.count("dashed ones annotated") == 1
  assert "1 further metrics" in page and "Worst cases" in page
  assert [x.text for x in tree.iter("h2")] == ["vqa", "vqa (other)"]


def test_what_was_left_out_has_a_line_of_its_own():
  skipped = {"corrupt image": 1234, "empty <caption>": 1, "unknown class": 0}
  reports = report.with_skipped(FOUND, skipped), FOUND
  page = write_page("", [Entry(Scored([one])) for one in reports])
  told = [x.text for x in browser.parse(page).iter("p") if "left" in x.text]
  assert told == ["left out: 1,234 x corrupt image, 1 x empty <caption>"]
  assert page.count("1,200 questions; score: rank") == 2


def test_words_have_the_colour_of_their_boxes():
  page = write_page("All", entries())
  word = f'<span style="color:{HUES["<ring>"]}">&lt;ring&gt;</span>'
  other = f'<span style="color:{HUES["string"]}">string</span>'
  assert f"a {word} on a {other}" in page and f"red, no {word}" in page
  boxes = [x.attrib for x in browser.parse(page).iter() if "title" in x.attrib]
  assert boxes == [
    {
      "class": f"box {kind}",
      "title": label,
      "style": f"left:0.0%;top:{top};width:100.0%;height:50.0%;"
      f"border-color:{HUES[label]}",
    }
    for kind, label, top in (
      ("true", "string", "0.0%"), ("found", "<ring>", "50.0%")
    )
  ]  # fmt: skip
  assert 'points="0.0,0.0 260.0,150.0"' in page


def test_neighbours_differ_in_colour():
  found = colours(["a", "b", "a", "c"])
  assert [*found] == ["a", "b", "c"]
  hues = [int(hue[4:].split(",")[0]) for hue in found.values()]
  assert hues == [0, 138, 275]


def test_a_browser_draws_pictures_boxes_and_curves():
  drawn = browser.draw(write_page("All", entries())).astype(np.int16)

  def pixels(hue):
    return (np.abs(drawn - np.int16(hue)).max(axis=-1) <= 3).sum()

  assert pixels(RING) > 0.8 * 180**2
  assert pixels((200, 200, 200)) > 3 * 0.9 * 87**2
  for hue in (*HUES.values(), "#1c7ed6"):
    assert pixels(ImageColor.getrgb(hue)) > 100, hue


def test_many_classes_are_folded():
  metrics = {"ap": 1.0} | {f"ap50_class {n}": float(n) for n in range(1_200)}
  detection = FOUND | {"task": "detection", "metrics": metrics}
  page = write_page("All", [Entry(Scored([detection]))])
  tree = browser.parse(page)
  (folded,) = tree.iter("details")
  assert folded[0].text == "1200 classes"
  assert [x[0].text for x in folded.iter("tr")][:2] == [
    "class, average precision at IoU .5", "class 0",
  ]  # fmt: skip


def test_kinds_of_phrases_stand_beside_chance():
  metrics = {
    "grounding_r1": 9.0, "grounding_r1_random": 3.0, "grounding_r1_level0": 1.0,
    "grounding_r1_small": 5.0, "grounding_r1_random_small": 2.0,
  }  # fmt: skip
  heading, found = kinds({"task": "grounding", "metrics": metrics})
  assert found == {"grounding_r1_small": "small"} and "R@1" in heading
  assert kinds({"task": "nlvr2", "metrics": {"accuracy": 1.0}})[1] == {}


def test_the_headline_is_the_first_row_that_was_measured():
  assert headline(FOUND) == "vqa_accuracy"
  assert headline({"task": "unheard", "metrics": {"x": 1.0}}) == "x"
  assert headline({"task": "vqa", "metrics": {}}) == ""


def test_a_directory_of_runs_becomes_a_page(tmp_path, capsys):
  with pytest.raises(ValueError, match="score runs first"):
    task_report.report([tmp_path], tmp_path / "page.html")
  for root in ("runs", "scratch"):
    place = tmp_path / root / "vqa" / "eval" / "vqa"
    report.write_report(place / "metrics.json", FOUND)
  place = tmp_path / "runs" / "vqa" / "eval" / "vqa"
  save_curves(place, [Curve("ring", [0.0], [1.0])])
  assert read_curves(place) == [Curve("ring", [0.0], [1.0])]
  page = tmp_path / "page.html"
  code = task_report.report(
    [tmp_path / "runs"], page, scratch=[tmp_path / "scratch"]
  )
  assert code == 0 and "VQA accuracy" in capsys.readouterr().out
  assert page.read_text().count("61.2") == 4  # model and scratch, twice
  with pytest.raises(ValueError, match=r"ends in \.html"):
    task_report.report([tmp_path / "runs"], tmp_path / "page.pdf")
  (place / "curves.json").write_text("[1]")
  with pytest.raises(ValueError, match=r"curves\.json is damaged"):
    read_curves(place)


def run_tasks(monkeypatch, *arguments) -> int:
  """Exit code of slan-tasks."""
  monkeypatch.setattr("sys.argv", ["slan-tasks", *map(str, arguments)])
  with pytest.raises(SystemExit) as left:
    task_report.main()
  return left.value.code


def test_seeds_are_summarised(tmp_path, monkeypatch, capsys):
  def scored(root, value, run="vqa"):
    place = tmp_path / root / run / "eval" / "vqa"
    metrics = {"vqa_accuracy": value}
    report.write_report(place / "metrics.json", FOUND | {"metrics": metrics})

  for seed, value in enumerate((60.0, 62.0, 67.0)):
    scored(f"seed{seed}", value)
  for seed, value in enumerate((30.0, 32.0)):
    scored(f"scratch{seed}", value)
  scored("seed1", 50.0, "zeroshot")
  runs = [tmp_path / f"seed{seed}" for seed in range(3)]
  beside = [tmp_path / f"scratch{seed}" for seed in range(2)]
  page = tmp_path / "page.html"
  code = run_tasks(
    monkeypatch, "--runs", f"{runs[0]},{runs[1]}", "--runs", runs[2],
    "--scratch", f"{beside[0]},{beside[1]}", "--output", page,
  )  # fmt: skip
  printed = capsys.readouterr().out
  assert code == 0 and "63.0 ± 3.6" in printed and "31.0 ± 1.4" in printed
  tree = browser.parse(page.read_text())
  cells = [[cell.text for cell in row] for row in tree.iter("tr")]
  values = ["63.0 ± 3.6", "31.0 ± 1.4", "12.5 ± 0.0", "30.0 ± 0.0"]
  assert ["VQA accuracy", *values] in cells
  assert ["VQA accuracy", "50.0", "-", "12.5", "30.0"] in cells
  assert "deviation of 3 seeds, 2 without pre-training" in page.read_text()
  assert [x.text for x in tree.iter("h2")] == ["vqa", "vqa (zeroshot)"]

  for given, message in (
    (f"{runs[0]},{runs[0]}", "seed0 is named twice"),
    (f"{runs[0]},{tmp_path / 'none'}", "none: no RUN/eval/TASK/metrics.json"),
    (",", "expected a directory"),
  ):
    assert run_tasks(monkeypatch, "--runs", given, "--output", page) == 2
    assert message in " ".join(capsys.readouterr().err.split())
