"""Captioning as a job: its task, its rows and its scores."""

import functools
from pathlib import Path
from typing import Any

import jax

from slan_jax.evaluation.caption_scores import score_captions
from slan_jax.evaluation.cases import Case, save_cases
from slan_jax.evaluation.report import with_skipped
from slan_jax.evaluation.result_file import write_captions as write_results
from slan_jax.evaluation.writing import write_captions
from slan_jax.input.captions import CaptionMaker
from slan_jax.input.gallery import Gallery, retrieval_split
from slan_jax.input.maker import MakeMaker
from slan_jax.input.text import TextEncoder
from slan_jax.interop.card import writes_captions
from slan_jax.jobs.experiment import (
  Experiment,
  batch_shape,
  caption_prompt,
  marks_of,
)
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.tasks import captioning
from slan_jax.tasks.task import Task

RESULTS = "results.json"
SECRET = "The captions of this split are secret: no metrics."


def make(experiment: Experiment, encoder: TextEncoder) -> Task:
  """The task; the prompt is known by its tokens."""
  return captioning.make_task(
    experiment.model,
    experiment.objective,
    experiment.captioning,
    batch_shape(experiment, encoder),
    marks_of(encoder),
    caption_prompt(experiment.task, experiment.captioning, encoder),
  )


def maker(experiment: Experiment) -> MakeMaker:
  """Captions behind the prompt."""
  prompt = experiment.captioning.prompt
  return functools.partial(CaptionMaker, prompt=prompt)


def open_scorer(setting: Setting) -> Score:
  """Captions against all captions of an image; leaves results.json.

  Images without a caption, as of a test split, are described and not scored.

  Raises:
    ValueError: the text decoder of this run was never trained.
  """
  experiment = setting.experiment
  if not writes_captions(experiment.task, experiment.objective.lm):
    raise ValueError(
      "--task=captioning: the text decoder of this run never learned captions; "
      "fine-tune it first: slan-train --config configs/finetune.py:captioning "
      "--config.init_from.run=DIR"
    )
  split = retrieval_split(*setting.source, limit=setting.limit, captions="any")
  known = references(split)
  chance = {}
  if known:
    chance = _with_sum(score_captions(known, _of_others(known)).metrics)

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    tokens, _ = write_captions(
      setting.task.predict,
      params,
      split.images,
      len(split.ids),
      setting.batching,
    )
    texts = [setting.encoder.decode(row) for row in tokens]
    written = dict(zip(split.ids, texts))
    keep = output is not None and jax.process_index() == 0
    if keep:
      write_results(output / RESULTS, written)
    metrics, told = {}, SECRET
    if known:
      found = score_captions(known, {name: written[name] for name in known})
      metrics = _with_sum(found.metrics)
      told = (
        f"{found.protocol} Chance: the first caption of another image of the "
        "split."
      )
      if keep:
        names = list(known)
        scores = [found.captions[name]["cider"] for name in names]
        save_cases(
          output,
          scores,
          lambda row: _case(split, names[row], written, known, scores[row]),
        )
    outcome = {
      "task": "captioning",
      "protocol": f"{_protocol(experiment)} {told}",
      "score": experiment.captioning.write.search,
      "samples": {
        "images": len(split.ids),
        "images_without_caption": len(split.ids) - len(known),
        "captions": len(split.texts),
        "distinct_captions": len(set(texts)),
      },
      "metrics": metrics,
      "chance": chance,
    }
    return with_skipped(outcome, split.skipped)

  return score


def _case(
  split: Gallery,
  name: str,
  written: dict[str, str],
  known: dict[str, list[str]],
  score: float,
) -> Case:
  image = split.images[split.ids.index(name)][None]
  true = [f"people: {text}" for text in known[name]]
  return Case(image, written[name], true, score)


def references(split: Gallery) -> dict[str, list[str]]:
  """Name of an image -> what people wrote about it, of those that have some."""
  found: dict[str, list[str]] = {}
  for text, row in zip(split.texts, split.text_image):
    found.setdefault(split.ids[row], []).append(text)
  return found


def _of_others(known: dict[str, list[str]]) -> dict[str, str]:
  """The first caption of the image half a split further on."""
  names, half = list(known), len(known) // 2
  others = names[-half:] + names[:-half] if half else names
  return {name: known[other][0] for name, other in zip(names, others)}


def _with_sum(metrics: dict[str, float]) -> dict[str, float]:
  """BLIP's choice among checkpoints: CIDEr + BLEU-4."""
  return metrics | {"cider_bleu4": metrics["cider"] + metrics["bleu4"]}


def _protocol(experiment: Experiment) -> str:
  prompt, write = experiment.captioning.prompt, experiment.captioning.write
  begin = f"Prompt {prompt!r}"
  if experiment.task != "captioning":
    begin = "No prompt, which this run never learned"
  how = f"beam search, {write.beams} beams, best mean log probability"
  if write.search == "nucleus":
    how = f"nucleus sampling, p {write.top_p:g}"
  return (
    f"{begin}, {how}; {write.shortest} to {write.longest} tokens written, "
    f"repetition penalty {write.repetition_penalty:g}."
  )
