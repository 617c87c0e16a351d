"""Scores image-text retrieval for `slan-eval` and during training."""

from pathlib import Path
from typing import Any

import jax

from slan_jax.evaluation.cases import save_cases
from slan_jax.evaluation.report import with_skipped
from slan_jax.evaluation.retrieval_cases import search_case, searches
from slan_jax.evaluation.retrieval_pictures import (
  retrieval_examples,
  save_examples,
)
from slan_jax.jobs.scoring import Scorer
from slan_jax.jobs.setting import Score, Setting, Tree
from slan_jax.jobs.unfinished import opened

QUERIES = 6  # examples kept for the pictures


def open_scorer(setting: Setting) -> Score:
  """Two-stage retrieval; leaves examples.npz for the pictures, and cases."""
  scorer = Scorer(
    setting.experiment,
    setting.task,
    setting.mesh,
    setting.split,
    galleries=setting.galleries,
  )

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    name = "untrained" if output is None else "model"
    kept = opened(setting.unfinished, name, params, scorer.gallery)
    found = scorer.retrieval(params, kept)
    if output is not None and jax.process_index() == 0:
      gallery = scorer.gallery
      examples = retrieval_examples(
        found.gallery,
        found.text_to_image,
        gallery.images,
        gallery.texts,
        queries=QUERIES,
      )
      save_examples(output / "examples.npz", examples)
      each = searches(found.gallery, found.text_to_image)
      save_cases(
        output,
        1 / (1 + each.ranks),
        lambda row: search_case(each, row, gallery.images, gallery.texts),
      )
    return with_skipped(found.report, scorer.gallery.skipped)

  return score
