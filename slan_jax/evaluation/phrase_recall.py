"""Phrase grounding: is the best region of a phrase on what the phrase names?

Axis letters: P phrases, L levels of the region adaptor, R regions, N tokens,
M true boxes of one phrase. Boxes are xyxy in [0,1] of the image.

A region hits when its IoU with any true box of the phrase reaches the
threshold ("AnyBox"); under the second protocol ("merged") the true boxes are
first replaced by the one that encloses them. A tie counts against us: among
regions of equal score the wrong ones come first.
"""

from typing import NamedTuple

import numpy as np

from slan_jax.evaluation.chance import chance_recall
from slan_jax.evaluation.map_box import score_map
from slan_jax.evaluation.overlap import (
  IOU,
  LOOSE_IOU,
  box_iou,
  centre_inside,
  enclosing,
)
from slan_jax.evaluation.recall import CUTOFFS

THRESHOLDS = {"": IOU, "_iou30": LOOSE_IOU}
# Reported by size of the object and by number of objects, too.
GROUPED = (
  "grounding_r1", "grounding_r1_random", "grounding_r1_iou30",
  "grounding_upper", "pointing", "pointing_random", "mean_iou",
  "mean_iou_random",
)  # fmt: skip
# Reported by what sort of thing a phrase names.
TYPED = ("grounding_r1_random", "pointing", "mean_iou") + tuple(
  f"grounding_{protocol}r{k}" for protocol in ("", "merged_") for k in CUTOFFS
)


class Truth(NamedTuple):
  """What is known about one phrase; read by evaluation alone.

  Attributes:
    boxes: float [M,4], xyxy in [0,1]; M = 0 drops the phrase.
    size: class of the object's area, "small" or "large"; "" = not classed.
    objects: objects in the image; 0 = not known.
    kinds: sorts of thing that the phrase names, such as "people".
  """

  boxes: np.ndarray
  size: str
  objects: int
  kinds: tuple[str, ...] = ()


def phrase_mean(
  values: np.ndarray, phrase_tokens: np.ndarray, token_weight: np.ndarray
) -> np.ndarray:
  """Score of a phrase: the weighted mean over its tokens.

  Args:
    values: [...,N] a score per token.
    phrase_tokens: bool [P,N], tokens of each phrase.
    token_weight: [N], how much a token counts; a phrase whose tokens all
      weigh nothing takes the plain mean.

  Returns:
    float64 [P,...]; zeros for a phrase without tokens (truncated away).
  """
  weight = np.where(phrase_tokens, np.asarray(token_weight, np.float64), 0)
  total = weight.sum(axis=1, keepdims=True)
  weight = np.where(total > 0, weight, phrase_tokens)
  total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
  # Padding may hold anything, -inf included: it must not meet a zero weight.
  used = phrase_tokens.any(axis=0)
  chosen = np.asarray(values, np.float64)[..., used]
  return np.moveaxis(chosen @ (weight / total)[:, used].T, -1, 0)


def hit_ranks(scores: np.ndarray, hits: np.ndarray) -> np.ndarray:
  """Rank of the best region that hits; the number of regions when none does.

  Args:
    scores: [...,R].
    hits: bool [...,R].

  Returns:
    int [...], 0 = first, ties against us.
  """
  best = np.where(hits, scores, -np.inf).max(
    axis=-1, keepdims=True, initial=-np.inf
  )
  rank = (~hits & (scores >= best)).sum(axis=-1)
  return np.where(hits.any(axis=-1), rank, hits.shape[-1])


def at_best(scores: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Value of the best-scored entry of the last axis, the lowest if they tie."""
  best = scores.max(axis=-1, keepdims=True)
  return np.where(scores == best, values, np.inf).min(axis=-1)


def score_regions(
  boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray
) -> dict[str, float]:
  """Scores the kept regions for one phrase.

  Args:
    boxes: [L+1,R,4] xyxy of the kept regions, level 0 = before the adaptor.
    scores: [L+1,R], higher is better.
    truth: [M,4] xyxy.

  Returns:
    The metrics of one phrase, each in 0..1; the plain names are the last level.
  """
  levels, regions = scores.shape
  if regions == 0:  # nothing was kept: every answer is wrong
    boxes, scores = np.zeros((levels, 1, 4)), np.zeros((levels, 1))
  overlap = box_iou(boxes, truth).max(axis=-1)
  joined = box_iou(boxes, enclosing(truth)).max(axis=-1)
  inside = centre_inside(boxes, truth) & (regions > 0)
  kept = overlap.shape[1]
  whole = hit_ranks(scores[-1], joined[-1] >= IOU)
  result = {f"grounding_merged_r{k}": whole < min(k, kept) for k in CUTOFFS}
  for suffix, least in THRESHOLDS.items():
    hits = overlap >= least
    ranks, right = hit_ranks(scores, hits), hits[-1].sum(keepdims=True)
    for k in CUTOFFS:
      name = f"grounding_r{k}{suffix}"
      result[name] = ranks[-1] < min(k, kept)
      result[f"{name}_random"] = chance_recall(right, kept, k) / 100
    for level in range(levels):
      result[f"grounding_r1{suffix}_level{level}"] = ranks[level] < 1
      result[f"grounding_upper{suffix}_level{level}"] = hits[level].any()
    result[f"grounding_upper{suffix}"] = hits[-1].any()
  for name, values in (("pointing", inside), ("mean_iou", overlap)):
    best = at_best(scores, values)
    result[name] = best[-1]
    result |= {f"{name}_level{level}": best[level] for level in range(levels)}
    result[f"{name}_upper"] = values[-1].max()
    result[f"{name}_random"] = values[-1].mean()
  return {name: float(value) for name, value in result.items()}


def score_phrase(
  boxes: np.ndarray,
  scores: np.ndarray,
  similarity: np.ndarray | None,
  truth: Truth,
) -> dict[str, float]:
  """All scores of one phrase, its groups included.

  Args:
    boxes: [L+1,R,4] xyxy of the kept regions.
    scores: [L+1,R].
    similarity: [h,w] map of the phrase, or None when the model has none.
    truth: what is known about the phrase.

  Returns:
    Metric -> 0..1.

  Raises:
    ValueError: a box or a score that is not finite.
  """
  require_finite(boxes, scores, similarity)
  result = score_regions(boxes, scores, truth.boxes)
  if similarity is not None:
    result |= score_map(similarity, truth.boxes)
  groups = [truth.size] * bool(truth.size)
  groups += [f"objects{truth.objects}"] * bool(truth.objects)
  pairs = [(name, group) for name in GROUPED for group in groups]
  pairs += [
    (name, kind) for name in TYPED for kind in dict.fromkeys(truth.kinds)
  ]
  return result | {f"{name}_{group}": result[name] for name, group in pairs}


def require_finite(
  boxes: np.ndarray, scores: np.ndarray, similarity: np.ndarray | None
) -> None:
  """Raises ValueError when a box, a score or a map is not finite."""
  for name, array in (
    ("boxes", boxes),
    ("scores", scores),
    ("map", similarity),
  ):
    if array is not None and not np.isfinite(array).all():
      raise ValueError(
        f"grounding: {name} hold values that are not finite; the model has "
        "diverged"
      )


def chance_of(metrics: dict[str, float]) -> dict[str, float]:
  """What a random kept region scores, under the name of what it stands beside.

  Args:
    metrics: names with `_random` among others.

  Returns:
    The values of those, `_random` taken out of the names.
  """
  return {
    name.replace("_random", ""): value
    for name, value in metrics.items()
    if "_random" in name
  }


def grounding_metrics(phrases: list[dict[str, float]]) -> dict[str, float]:
  """Means over phrases, in percent; a group's over the phrases of that group.

  Args:
    phrases: one record of `score_phrase` per phrase.

  Returns:
    Metric -> percent.

  Raises:
    ValueError: no phrase at all.
  """
  if not phrases:
    raise ValueError(
      "grounding: no phrase with a box to score; does this split hold phrases?"
    )
  names = sorted({name for phrase in phrases for name in phrase})
  return {
    name: float(
      100 * np.mean([phrase[name] for phrase in phrases if name in phrase])
    )
    for name in names
  }
