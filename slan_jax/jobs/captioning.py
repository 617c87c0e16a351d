"""Captioning as a job: its task, its rows and its scores."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

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

  Raises:
    ValueError: the text decoder of this run was never trained.
  """
  experiment = setting.experiment
  if not writes_captions(experiment.task, experiment.objective.lm):
    raise ValueError(
      "--task=captioning: the text decoder of this run never learned captions "
      "(objective.lm is 0); fine-tune it first: slan-train --config "
      "configs/finetune.py:captioning --config.init_from.run=DIR"
    )
  split = retrieval_split(*setting.source, limit=setting.limit)
  chance = score_captions(references(split), _of_others(split))

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
    found = score_captions(references(split), written)
    if output is not None and jax.process_index() == 0:
      write_results(output / RESULTS, written)
      scores = [found.captions[name]["cider"] for name in split.ids]
      save_cases(output, scores, lambda row: _case(split, texts, scores, row))
    outcome = {
      "task": "captioning",
      "protocol": f"{_protocol(experiment)} {found.protocol} "
      "Chance: the first caption of another image of the split.",
      "score": experiment.captioning.write.search,
      "samples": {
        "images": len(split.ids),
        "captions": len(split.texts),
        "distinct_captions": len(set(texts)),
      },
      "metrics": _with_sum(found.metrics),
      "chance": _with_sum(chance.metrics),
    }
    return with_skipped(outcome, split.skipped)

  return score


def _case(
  split: Gallery, texts: list[str], scores: list[float], row: int
) -> Case:
  true = [f"people: {text}" for text in references(split)[split.ids[row]]]
  return Case(split.images[row][None], texts[row], true, scores[row])


def references(split: Gallery) -> dict[str, list[str]]:
  """Name of an image -> what people wrote about it."""
  found: dict[str, list[str]] = {name: [] for name in split.ids}
  for text, row in zip(split.texts, split.text_image):
    found[split.ids[row]].append(text)
  return found


def _of_others(split: Gallery) -> dict[str, str]:
  """The first caption of the image half a split further on."""
  _, first = np.unique(split.text_image, return_index=True)
  moved = np.roll(first, len(first) // 2)
  return {name: split.texts[row] for name, row in zip(split.ids, moved)}


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
