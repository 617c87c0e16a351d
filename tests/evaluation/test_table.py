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
  console.print(table.closing_table(reports))
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
