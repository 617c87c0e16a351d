"""Scores phrase grounding for `slan-eval` and during training."""

from pathlib import Path
from typing import Any

from slan_jax.jobs.scoring import Scorer
from slan_jax.jobs.setting import Score, Setting, Tree


def open_scorer(setting: Setting) -> Score:
  """Phrase grounding, with counterfactual pairs where all is scored."""
  scorer = Scorer(
    setting.experiment,
    setting.task,
    setting.mesh,
    setting.split,
    galleries=setting.galleries,
    limit=setting.limit,
  )

  def score(params: Tree, output: Path | None) -> dict[str, Any]:
    del output  # no files beside metrics.json
    return scorer.grounding(params, counterfactuals=setting.limit is None)

  return score
