"""The model card of an export: how it was trained and what it scores."""

from collections.abc import Sequence
from typing import Any

_HEAD = """\
---
license: apache-2.0
library_name: slan_torch
tags:
- image-text-retrieval
- visual-grounding
- slan
---

# SLAN, {backbone}

A Self-Locator Aided Network: image-text retrieval, and boxes for the phrases of
a text, learned {learned}. Step {step} of a run with
`{config}`; {count:,} parameters, {dtype}.

    from slan_torch import Processor, SLANModel
    model = SLANModel.from_pretrained("DIR")
    processor = Processor.from_pretrained("DIR")
    images = model.encode_image(processor.images(["a.jpg"]))
    texts = model.encode_text(*processor.texts(["a red bicycle"]))
    print(model.itc(images, texts), model.itm(images, texts))

"""

_LEARNED = {
  True: "from boxes too",
  False: "from captions without boxes",
  None: "from captions; what it began from cannot be read any more and may "
  "have seen boxes",
}
# Keys of the training configuration that a reader asks for first.
_SHOWN = (
  "task",
  "init_from.run",
  "data.dir",
  "data.train_split",
  "total_steps",
  "batch_size",
  "optimizer.learning_rate",
  "optimizer.weight_decay",
  "model.image_size",
  "model.adaptor.words",
  "model.word_map.enabled",
  "objective.lm",
  "seed",
)


def model_card(
  training: dict[str, Any],
  reports: Sequence[dict[str, Any]],
  *,
  boxes: bool | None,
  step: int,
  config_hash: str,
  parameters: int,
  dtype: str,
) -> str:
  """The text of README.md.

  Args:
    training: the whole configuration of the run.
    reports: contents of its metrics.json files.
    boxes: whether it, or what it began from, learned from boxes; None = what
      it began from cannot be read any more.
    step: of the exported checkpoint.
    config_hash: of the configuration.
    parameters: how many there are.
    dtype: of the weights.
  """
  text = _HEAD.format(
    backbone=training["model"]["backbone"]["name"],
    learned=_LEARNED[boxes],
    step=step,
    config=config_hash,
    count=parameters,
    dtype=dtype,
  )
  text += "## Training\n\n| key | value |\n|---|---|\n"
  for key in _SHOWN:
    text += f"| `{key}` | `{_lookup(training, key)}` |\n"
  text += "\nAll of it: training_config.json.\n\n## Scores\n\n"
  if not reports:
    text += "Not scored yet; slan-eval scores a run.\n"
  for report in reports:
    text += _scores(report, step)
  task = training["task"]
  if not writes_captions(task, training["objective"]["lm"]):
    decoder = "learned answers alone" if task == "vqa" else "was not trained"
    text += (
      f"\n## Limits\n\nThe text decoder {decoder}: captions that it writes "
      "mean nothing.\n"
    )
  return text


def writes_captions(task: str, lm: float) -> bool:
  """Whether a run's text decoder learned to write captions.

  Args:
    task: of the run.
    lm: weight of the causal language loss, `objective.lm`, which other tasks
      than these two have no use for.
  """
  return task == "captioning" or (task in ("pretrain", "retrieval") and lm > 0)


def _lookup(values: dict[str, Any], key: str) -> Any:
  for part in key.split("."):
    values = values[part]
  return values


def _scores(report: dict[str, Any], step: int) -> str:
  """A table of one report; scores of another checkpoint say so."""
  other = report["checkpoint_step"]
  note = "" if other == step else f" Scored at step {other}, not {step}."
  lines = [
    f"### {report['task']}",
    "",
    f"{report['protocol']} Score: `{report['score']}`.{note}",
    "",
    "| metric | value | chance | untrained |",
    "|---|---|---|---|",
  ]
  for name, value in report["metrics"].items():
    cells = [
      f"{found[name]:.2f}" if name in found else ""
      for found in (report["chance"], report["untrained"])
    ]
    lines.append(f"| `{name}` | {value:.2f} | {' | '.join(cells)} |")
  return "\n".join(lines) + "\n\n"
