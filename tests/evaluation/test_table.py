"""The closing table shows each score beside the untrained model and chance."""

import io

from rich.console import Console

from slan_jax.evaluation import table


def test_rows_and_gaps():
  reports = [
    {
      "task": "retrieval", "protocol": "", "score": "sum",
      "checkpoint_step": 7, "config_hash": "", "samples": {"images": 1000},
      "metrics": {"i2t_r1": 91.26}, "untrained": {"i2t_r1": 1.5},
      "chance": {"i2t_r1": 0.5},
    },
    {
      "task": "grounding", "protocol": "", "score": "level3",
      "checkpoint_step": 7, "config_hash": "",
      "samples": {"phrases": 540, "counterfactual_pairs_size": 12},
      "metrics": {"pointing": 80.0, "mean_iou": 60.0,
                  "counterfactual": 70.0}, "untrained": {},
      "chance": {"pointing": 30.0},
    },
  ]  # fmt: skip
  console = Console(width=90, record=True, file=io.StringIO())
  console.print(table.closing_table([table.Scored([r]) for r in reports]))
  text = console.export_text()
  rows = [
    [cell.strip() for cell in line.strip("│").split("│")]
    for line in text.splitlines()
    if line.startswith("│")
  ]
  assert ["image to text R@1", "91.3", "1.5", "0.5"] in rows
  assert ["pointing", "80.0", "-", "30.0"] in rows
  assert "1,000 images" in text and "step 7" in text
  assert "mean_iou" not in text
  assert ["counterfactual: right for both captions", "70.0", "-", "-"] in rows
  assert "540 phrases" in text and "pairs size" not in text


def told(scored):
  console = Console(width=140, record=True, file=io.StringIO())
  console.print(table.closing_table(scored))
  lines = console.export_text().splitlines()
  return [
    [cell.strip() for cell in line.strip("│┃").split(line[0])]
    for line in lines
    if line[:1] in ("│", "┃")
  ]


def vqa(value, untrained=10.0, step=4):
  return {
    "task": "vqa", "protocol": "", "score": "rank", "checkpoint_step": step,
    "config_hash": "", "samples": {"questions": 12},
    "metrics": {"vqa_accuracy": value}, "chance": {},
    "untrained": {"vqa_accuracy": untrained},
  }  # fmt: skip


def test_runs_without_pretraining_have_a_column():
  heads, first, *rows = told([
    table.Scored([vqa(60.0)], "zeroshot", [vqa(33.25)]),
    table.Scored([vqa(61.0)], "vqa"),
  ])  # fmt: skip
  assert heads == [
    "metric", "model", "without pre-training", "untrained", "chance"
  ]  # fmt: skip
  assert first[0] == "vqa (zeroshot) (rank)"
  values = [row[1:] for row in rows if row[0] == "VQA accuracy"]
  assert values == [["60.0", "33.2", "10.0", "-"], ["61.0", "-", "10.0", "-"]]
  assert not any("seed" in row[0] for row in rows)
  assert told([table.Scored([vqa(60.0)])])[0][1:] == [
    "model", "untrained", "chance"
  ]  # fmt: skip


def test_seeds_are_a_mean_with_its_deviation():
  three = [vqa(value) for value in (60.0, 62.0, 67.0)]
  scored = table.Scored(three, "", [vqa(30.0), vqa(32.0)])
  # Squares 9, 1, 16 over two: 3.6; 1, 1 over one: 1.4.
  assert scored.values("vqa_accuracy") == {
    "model": "63.0 ± 3.6", "scratch": "31.0 ± 1.4",
    "untrained": "10.0 ± 0.0", "chance": "-",
  }  # fmt: skip
  what = "mean ± standard deviation of 3 seeds, 2 without pre-training"
  assert [what] == [row[0] for row in told([scored]) if "seeds" in row[0]]
  assert scored._replace(scratch=()).seeds.endswith("deviation of 3 seeds")
