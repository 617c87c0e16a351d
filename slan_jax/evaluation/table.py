"""The closing table of a run: scores beside the untrained model and chance."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

# Metric -> what a reader calls it. Metrics a report lacks are left out.
ROWS = {
  "retrieval": {
    "i2t_r1": "image to text R@1",
    "t2i_r1": "text to image R@1",
    "r_mean": "mean of R@1, 5, 10 both ways",
    "itc_i2t_r1": "  ITC alone, image to text R@1",
    "itc_t2i_r1": "  ITC alone, text to image R@1",
    "itm_i2t_r1": "  ITM re-ranking alone, image to text R@1",
    "itm_t2i_r1": "  ITM re-ranking alone, text to image R@1",
  },
  "captioning": {
    "cider": "CIDEr",
    "bleu4": "BLEU-4",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "spice": "SPICE",
  },
  "vqa": {
    "vqa_accuracy": "VQA accuracy",
    "vqa_accuracy_yes_no": "  yes or no",
    "vqa_accuracy_number": "  numbers",
    "vqa_accuracy_other": "  other answers",
    "vqa_accuracy_colour": "  colours",
    "vqa_accuracy_shape": "  shapes",
    "vqa_accuracy_size": "  sizes",
    "vqa_accuracy_count": "  counts",
    "vqa_accuracy_exists": "  is there one?",
    "vqa_accuracy_relation": "  where one is",
  },
  "grounding": {
    "pointing": "pointing",
    "grounding_r1": "grounding R@1, IoU 0.5",
    "grounding_r5": "grounding R@5, IoU 0.5",
    "grounding_r1_level0": "  before the region adaptor, R@1",
    "grounding_r1_random": "  a random kept region, R@1",
    "grounding_upper": "  the best kept region",
    "map_r1": "  the bare similarity map's box, R@1",
    "counterfactual": "counterfactual: right for both captions",
    "counterfactual_moved": "  of the right ones, right for the other too",
    "counterfactual_pointing": "  by pointing, right for both",
    "counterfactual_words": "  where a word of the phrase changes",
    "counterfactual_relation": "  where only its place is told otherwise",
  },
  "detection": {
    "ap": "average precision, IoU .5 to .95",
    "ap50": "average precision, IoU .5",
    "ap75": "average precision, IoU .75",
    "ar100": "average recall",
  },
  "nlvr2": {
    "accuracy": "accuracy",
    "consistency": "consistency",
  },
  "video_retrieval": {
    "t2i_r1": "text to video R@1",
    "t2i_r5": "text to video R@5",
    "t2i_r10": "text to video R@10",
    "i2t_r1": "video to text R@1",
    "mdr": "median rank of the right video (not percent)",
  },
}

# Task -> what its examples are told apart by, how the metrics of these kinds
# begin, and the metric itself. A kind of grounding has a chance level.
_KINDS = {
  "detection": ("class, average precision at IoU .5", "ap50_", "ap50_"),
  "vqa": ("kind of question, accuracy", "vqa_accuracy_", "vqa_accuracy_"),
  "grounding": ("kind of phrase, R@1", "grounding_r1_random_", "grounding_r1_"),
}


def kinds(report: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
  """The metrics of a report that are those of one class or kind.

  Args:
    report: of `report.read_report`.

  Returns:
    What they are told apart by, and metric -> class or kind; none for tasks
    that know no kinds.
  """
  heading, marks, metric = _KINDS.get(report["task"], ("", "", ""))
  names = [
    name for name in report["metrics"] if marks and name.startswith(marks)
  ]
  ends = [name.removeprefix(marks) for name in names]
  return heading, {metric + end: end.replace("_", " ") for end in ends}


class Scored(NamedTuple):
  """One evaluation, of one run or of several that differ in their seed alone.

  Attributes:
    reports: of `report.complete` or `report.read_report`, one per seed.
    run: name of the run, where it is not that of the task.
    scratch: the same without pre-training; [] = there are none.
  """

  reports: Sequence[Mapping[str, Any]]
  run: str = ""
  scratch: Sequence[Mapping[str, Any]] = ()

  @property
  def report(self) -> Mapping[str, Any]:
    """That of the first seed."""
    return self.reports[0]

  @property
  def title(self) -> str:
    """The task, with the run where that has another name."""
    task = self.report["task"]
    return task if self.run in ("", task) else f"{task} ({self.run})"

  @property
  def seeds(self) -> str:
    """In words over how many runs the values are means; "" = one of each."""
    counts = [len(self.reports)]
    counts += [len(self.scratch)] if self.scratch else []
    if max(counts) == 1:
      return ""
    told = f"{counts[0]} seeds" if counts[0] > 1 else "1 seed"
    if counts[1:] and counts[1] != counts[0]:
      told += f", {counts[1]} without pre-training"
    return f"mean ± standard deviation of {told}"

  def values(self, metric: str) -> dict[str, str]:
    """Of the model, without pre-training, untrained and by chance: text."""
    # A random order scores the same under any name.
    guess = metric.removeprefix("itc_").removeprefix("itm_")
    return {
      "model": _spread(self.reports, "metrics", metric),
      "scratch": _spread(self.scratch, "metrics", metric),
      "untrained": _spread(self.reports, "untrained", metric),
      "chance": _spread(self.reports, "chance", guess),
    }


def _spread(
  reports: Sequence[Mapping[str, Any]], part: str, metric: str
) -> str:
  """Mean and, of several, the sample standard deviation."""
  values = [held[part][metric] for held in reports if metric in held[part]]
  if not values:
    return "-"
  mean = f"{statistics.mean(values):.1f}"
  return f"{mean} ± {statistics.stdev(values):.1f}" if values[1:] else mean


def closing_table(scored: Sequence[Scored]) -> Table:
  """Lays evaluations side by side.

  Args:
    scored: the evaluations; runs without pre-training have a column where
      there are some.

  Returns:
    A table to print with `rich.console.Console().print`.
  """
  steps = {held["checkpoint_step"] for one in scored for held in one.reports}
  table = Table(
    title="What the model learned (percent)",
    caption=f"checkpoint step {', '.join(map(str, sorted(steps)))}",
  )
  heads = {"model": "model", "untrained": "untrained", "chance": "chance"}
  if any(one.scratch for one in scored):
    heads = {"model": "model", "scratch": "without pre-training"} | heads
  table.add_column("metric")
  for name in heads.values():
    table.add_column(name, justify="right")
  for one in scored:
    report = one.report
    samples = ", ".join(
      f"{value:,} {name.replace('_', ' ')}"
      for name, value in report["samples"].items()
      if value and not name.startswith("counterfactual_pairs_")
    )
    table.add_section()
    table.add_row(f"[bold]{one.title}[/] ({report['score']})")
    table.add_row(f"[dim]{samples}[/]")
    if one.seeds:
      table.add_row(f"[dim]{one.seeds}[/]")
    rows = ROWS.get(report["task"], {name: name for name in report["metrics"]})
    for metric, label in rows.items():
      if metric in report["metrics"]:
        values = one.values(metric)
        table.add_row(label, *(values[name] for name in heads))
  return table


def answer_table(lines: Sequence[dict[str, Any]]) -> Table:
  """Answers to a user for a terminal, a row each.

  Args:
    lines: JSON objects with the same keys; none is a table without rows.
  """
  table = Table()
  for name, value in (lines[0] if lines else {}).items():
    number = isinstance(value, int | float | list)
    table.add_column(name, justify="right" if number else "left")
  for line in lines:
    table.add_row(*(_cell(value) for value in line.values()))
  return table


def _cell(value: Any) -> Text:
  if value is None:
    return Text("-")
  if isinstance(value, list):
    return Text(" ".join(f"{x:g}" for x in value))
  return Text(f"{value:.4g}" if isinstance(value, float) else str(value))
