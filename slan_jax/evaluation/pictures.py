"""The pictures of a work directory, and a page that shows them all.

Everything is drawn from files of the work directory, so the set can be drawn
again at any time: metrics.jsonl, evaluations.jsonl, snapshots/*.npz and
eval/retrieval/examples.npz.
"""

import html
from pathlib import Path

from slan_jax.evaluation.curves import draw_curves
from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.history import EVALUATIONS, TRAINING, load_history
from slan_jax.evaluation.region_pictures import (
  draw_filter,
  draw_levels,
  draw_training,
)
from slan_jax.evaluation.report import read_report
from slan_jax.evaluation.retrieval_pictures import draw_retrieval, load_examples
from slan_jax.evaluation.snapshot import load_snapshots

FOLDER = "pictures"
EXAMPLES = Path("eval") / "retrieval" / "examples.npz"
# File -> heading and what there is to see.
CAPTIONS = {
  "curves": ("Curves", "Losses, scores and the kept regions over the steps."),
  "training": (
    "Regions during training",
    "The same images as training goes on (the paper's Figure 5).",
  ),
  "levels": (
    "From coarse to fine",
    "The best region of each phrase after each level of the region adaptor "
    "(Figures 4 and 6).",
  ),
  "filter": (
    "The region filter",
    "All proposals, and the regions that are kept (Figure 7).",
  ),
  "retrieval": (
    "Retrieval",
    "Texts and the images they find in the gallery (Figure 8).",
  ),
}


def draw_report(workdir: Path) -> dict[str, Path]:
  """Draws every picture whose data the work directory holds, and the page.

  Args:
    workdir: of the run.

  Returns:
    Name -> PNG of what was drawn, and "index" -> the page.

  Raises:
    ValueError: a damaged file, or nothing to draw; the message names it.
  """
  workdir = Path(workdir)
  folder = workdir / FOLDER
  drawn = {}

  def path(name: str) -> Path:
    return folder / f"{name}.png"

  training = load_history(workdir / TRAINING)
  scores = load_history(workdir / EVALUATIONS)
  if training or scores:
    drawn["curves"] = draw_curves(training, scores, path("curves"))
  snapshots = load_snapshots(workdir)
  if snapshots:
    drawn["training"] = draw_training(snapshots, path("training"))
    drawn["levels"] = draw_levels(snapshots[-1], path("levels"))
    if snapshots[-1]["proposals"].shape[1]:
      drawn["filter"] = draw_filter(snapshots[-1], path("filter"))
  if (workdir / EXAMPLES).exists():
    examples = load_examples(workdir / EXAMPLES)
    drawn["retrieval"] = draw_retrieval(examples, path("retrieval"))
  if not drawn:
    raise ValueError(
      f"{workdir}: nothing to draw; it holds no {TRAINING}, no {EVALUATIONS}, "
      f"no snapshots/ and no {EXAMPLES}"
    )
  drawn["index"] = folder / "index.html"
  write_atomically(drawn["index"], _page(workdir, drawn).encode())
  return drawn


def _page(workdir: Path, drawn: dict[str, Path]) -> str:
  """The page: scores, then each picture under its heading."""
  parts = [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8">',
    f"<title>{html.escape(workdir.resolve().name)}</title>",
    "<style>body{font:16px/1.5 system-ui,sans-serif;color:#212529;"
    "max-width:1200px;margin:2rem auto;padding:0 1rem}img{max-width:100%}"
    "p{color:#495057}td,th{padding:.1rem .8rem .1rem 0;text-align:left}"
    "</style></head><body>",
    f"<h1>{html.escape(workdir.resolve().name)}</h1>",
  ]
  for report in sorted(workdir.glob("eval/*/metrics.json")):
    parts += _scores(report)
  for name, (heading, text) in CAPTIONS.items():
    if name in drawn:
      parts += [
        f"<h2>{html.escape(heading)}</h2>",
        f"<p>{html.escape(text)}</p>",
        f'<img src="{drawn[name].name}" alt="{html.escape(heading)}">',
      ]
  return "\n".join([*parts, "</body></html>", ""])


def _scores(path: Path) -> list[str]:
  """The scores that have a chance level, beside it."""
  report = read_report(path)
  rows = [
    f"<tr><td>{html.escape(name)}</td>"
    + "".join(
      f"<td>{part[name]:.1f}</td>" if name in part else "<td>-</td>"
      for part in (report["metrics"], report["untrained"], report["chance"])
    )
    + "</tr>"
    for name in report["chance"]
    if name in report["metrics"]
  ]
  return [
    f"<h2>Scores: {html.escape(report['task'])} "
    f"({html.escape(report['score'])}, step {report['checkpoint_step']})</h2>",
    f"<p>{html.escape(report['protocol'])}</p>",
    "<table><tr><th>metric</th><th>model</th><th>untrained</th>"
    "<th>chance</th></tr>",
    *rows,
    "</table>",
  ]
