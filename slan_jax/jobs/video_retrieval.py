"""Zero-shot video-text retrieval for `slan-eval`."""

from pathlib import Path
from typing import Any

import jax

from slan_jax.evaluation.cases import save_cases
from slan_jax.evaluation.report import with_skipped
from slan_jax.evaluation.retrieval import Texts, evaluate_retrieval
from slan_jax.evaluation.retrieval_cases import search_case, searches
from slan_jax.input.clips import clip_split
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.jobs.unfinished import opened
from slan_jax.models.slan import Slan
from slan_jax.tasks import video_retrieval
from slan_jax.tasks.task import Task


def scored(task: Task, experiment: Experiment) -> Task:
  """A task over the same model that scores clips in place of pictures."""
  predict = video_retrieval.predictions(Slan(experiment.model))
  return task._replace(predict=predict)


def open_scorer(setting: Setting) -> Score:
  """Two-stage retrieval of clips; the sizes of batches count frames."""
  options, video = setting.experiment.evaluation, setting.experiment.video
  clips = clip_split(
    *setting.source,
    frames=video.frames,
    choice=video.choice,
    seed=setting.experiment.seed,
    limit=max(setting.galleries),
  )
  batching = setting.batching
  batching = batching._replace(
    size=max(1, batching.size // video.frames),
    pairs=max(1, batching.pairs // video.frames),
  )

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    name = "untrained" if output is None else "model"
    found = evaluate_retrieval(
      setting.task.predict,
      params,
      clips.images,
      Texts(clips.tokens, clips.mask, clips.text_image),
      galleries=setting.galleries,
      texts_per_image=options.texts_per_image or None,
      top_k=options.top_k,
      first_stage=options.first_stage,
      score=options.score,
      batching=batching,
      partial=opened(setting.unfinished, name, params, clips),
    )
    if output is not None and jax.process_index() == 0:
      each = searches(found.gallery, found.text_to_image)
      save_cases(
        output,
        1 / (1 + each.ranks),
        lambda row: search_case(each, row, clips.images, clips.texts),
      )
    told = (
      f"An image is a clip of {video.frames} frames, chosen {video.choice}: "
      "mean of their ITC, ITM over the regions of all; "
    )
    outcome = found.report | {
      "task": "video_retrieval",
      "protocol": told + found.report["protocol"],
    }
    return with_skipped(outcome, clips.skipped)

  return score
