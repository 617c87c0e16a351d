"""Counterfactual grounding: does the region follow when the words change?

A pair is two captions of one image. The phrase in question means one object in
the first and another one in the second (the paper's Figure 4, as a number).

Axis letters: K pairs, L levels of the region adaptor, R regions, N tokens.
Boxes are xyxy in [0,1].
"""

from typing import Any, NamedTuple

import numpy as np

from slan_jax.evaluation import evaluator, phrase_recall
from slan_jax.evaluation.evaluator import Batching, Predict, Tree
from slan_jax.evaluation.grounding import Examples, ground, phrase_answers
from slan_jax.evaluation.map_box import map_box, map_points
from slan_jax.evaluation.overlap import IOU, box_iou, centre_inside
from slan_jax.evaluation.phrase_recall import at_best

LIMIT = 500  # pairs scored, the first ones
PROTOCOL = (
  "Counterfactual: two captions of one image, in which a phrase means one "
  f"object and then another; the first {LIMIT} such pairs. A caption is right "
  "when the best region has IoU >= 0.5 with its object and more of it than "
  "with the other caption's; pointing: when the region's centre lies in its "
  "object's box and nearer to that box's centre than to the other's. "
  "counterfactual: both captions are right; counterfactual_moved: of the "
  "captions that are right, those whose partner is right too."
)
_GROUPED = ("", "_pointing", "_random", "_pointing_random")


class Pairs(NamedTuple):
  """Counterfactual pairs.

  Attributes:
    examples: of 2K rows, a pair in two rows that follow each other; one phrase
      with one box each.
    kinds: what changes in each pair, K words.
  """

  examples: Examples
  kinds: list[str]


def score_caption(
  states: dict[str, np.ndarray],
  phrase_tokens: np.ndarray,
  own: np.ndarray,
  other: np.ndarray,
) -> dict[str, float]:
  """Scores one caption of a pair.

  Args:
    states: one row of `grounding.ground`.
    phrase_tokens: bool [N].
    own: [4], box of the object that the phrase means here.
    other: [4], of the object that it means in the other caption.

  Returns:
    Suffix of a metric's name -> 0..1; "" is the best region after the last
    level.

  Raises:
    ValueError: outputs that are not finite.
  """
  boxes, (scores,), (similarity,) = phrase_answers(states, phrase_tokens[None])
  phrase_recall.require_finite(boxes, scores, similarity)
  if not boxes.shape[1]:  # nothing was kept: every answer is wrong
    boxes, scores = np.zeros((len(boxes), 1, 4)), np.zeros((len(boxes), 1))
    right = inside = np.zeros(scores.shape, bool)
  else:
    right = _covers(boxes, own, other)
    inside = _points(boxes, own, other)
  best = at_best(scores, right)
  result = {
    "": best[-1],
    "_pointing": at_best(scores[-1], inside[-1]),
    "_upper": right[-1].any(),
    "_random": right[-1].mean(),
    "_pointing_random": inside[-1].mean(),
  }
  result |= {f"_level{level}": value for level, value in enumerate(best)}
  if similarity is not None:
    result["_map"] = _covers(map_box(similarity), own, other)
    result["_map_pointing"] = _points(map_points(similarity), own, other).all()
  return {name: float(value) for name, value in result.items()}


def _covers(boxes: np.ndarray, own: np.ndarray, other: np.ndarray):
  """bool [...]: boxes [...,4] on the one object rather than on the other."""
  overlap = box_iou(boxes, np.stack([own, other]))
  return (overlap[..., 0] >= IOU) & (overlap[..., 0] > overlap[..., 1])


def _points(boxes: np.ndarray, own: np.ndarray, other: np.ndarray):
  """bool [...]: centres in the one object's box and nearer to its centre."""
  far, near = (
    np.linalg.norm(
      (boxes[..., :2] + boxes[..., 2:] - truth[:2] - truth[2:]) / 2, axis=-1
    )
    for truth in (other, own)
  )
  return centre_inside(boxes, own[None]) & (near < far)


def evaluate_counterfactuals(
  predict: Predict, params: Tree, pairs: Pairs, *, batching: Batching
) -> dict[str, Any]:
  """Scores counterfactual pairs.

  Args:
    predict: holds encode_image and ground.
    params: their parameters.
    pairs: at least one.
    batching: how they are fed.

  Returns:
    protocol, samples, metrics and chance, to join those of grounding.
  """
  examples, scored = pairs.examples, {}
  with evaluator.progress_bar("counterfactuals", batching) as bar:
    for row, states in ground(predict, params, examples, batching):
      own, other = (
        np.asarray(examples.truths[number][0].boxes[0], np.float64)
        for number in (row, row ^ 1)
      )
      tokens = examples.phrase_tokens[row, 0]
      scored[row] = score_caption(states, tokens, own, other)
      bar.update()
  captions = [scored[row] for row in range(len(scored))]
  metrics = counterfactual_metrics(captions, _groups(pairs))
  samples = {"counterfactual_pairs": len(pairs.kinds)}
  samples |= {
    f"counterfactual_pairs_{kind}": pairs.kinds.count(kind)
    for kind in sorted(set(pairs.kinds))
  }
  return {
    "protocol": PROTOCOL,
    "samples": samples,
    "metrics": metrics,
    "chance": phrase_recall.chance_of(metrics),
  }


def _groups(pairs: Pairs) -> dict[str, np.ndarray]:
  """bool [K] of each kind, and of the pairs whose phrases differ in words."""
  examples, kinds = pairs.examples, np.array(pairs.kinds)
  phrases = [
    tokens[spans[0]].tolist()
    for tokens, spans in zip(examples.tokens, examples.phrase_tokens)
  ]
  pairwise = zip(phrases[::2], phrases[1::2])
  groups = {f"_{kind}": kinds == kind for kind in sorted(set(pairs.kinds))}
  groups["_words"] = np.array([a != b for a, b in pairwise])
  return {name: chosen for name, chosen in groups.items() if chosen.any()}


def counterfactual_metrics(
  captions: list[dict[str, float]], groups: dict[str, np.ndarray]
) -> dict[str, float]:
  """Shares of pairs and of captions, in percent.

  Args:
    captions: of `score_caption`, 2K, those of a pair following each other.
    groups: suffix of a name -> bool [K], the pairs that count.

  Returns:
    Metric -> percent. A random region is drawn for each caption anew.
  """
  every = {"": np.ones(len(captions) // 2, bool)}
  metrics: dict[str, float] = {}
  for name in captions[0]:
    values = np.array([caption[name] for caption in captions]).reshape(-1, 2)
    for group, rows in (every | (groups if name in _GROUPED else {})).items():
      chosen, end = values[rows], f"{name}{group}"
      both, one = chosen.prod(axis=1).mean(), chosen.mean()
      metrics[f"counterfactual{end}"] = 100 * both
      metrics[f"counterfactual_single{end}"] = 100 * one
      metrics[f"counterfactual_moved{end}"] = 100 * both / one if one else 0.0
  return {name: float(value) for name, value in metrics.items()}
