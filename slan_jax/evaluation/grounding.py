"""Phrase grounding: from the ground function to a report and to snapshots.

Axis letters: E examples (an image with one caption), P phrases, N tokens,
L levels of the region adaptor, R regions, h and w cells of the map.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from slan_jax.evaluation import evaluator, phrase_recall
from slan_jax.evaluation.evaluator import Batching, Predict, Tree
from slan_jax.evaluation.overlap import enclosing
from slan_jax.evaluation.phrase_recall import Truth

PROTOCOL = (
  "One sample per phrase with a box, the whole caption as text. A region hits "
  "at IoU >= 0.5 with any true box of the phrase (AnyBox; _iou30: at 0.3; "
  "merged: with the box around all true boxes). Boxes are clipped to the "
  "image. Regions rank by the weighted mean similarity to the phrase's tokens; "
  "ties count against the model. Plain names are the last level; pointing: the "
  "centre of the best region lies in a true box; upper: any kept region hits. "
  "Chance: the expected score of the same kept regions in random order."
)
# (row of the example, its row of `ground`, a record of each phrase with a box)
Watch = Callable[[int, dict[str, np.ndarray], list[dict[str, float]]], None]


class Examples(NamedTuple):
  """Images with one caption each and the phrases in it.

  Attributes:
    images: uint8 [I,S,S,3], or anything that an int array of rows indexes.
    image: int [E], row of each example's image.
    tokens: int32 [E,N].
    mask: bool [E,N], True on real tokens.
    phrase_tokens: bool [E,P,N], tokens of each phrase.
    truths: for each example, what is known of each of its phrases.
  """

  images: Any
  image: np.ndarray
  tokens: np.ndarray
  mask: np.ndarray
  phrase_tokens: np.ndarray
  truths: list[list[Truth]]


def to_xyxy(boxes: np.ndarray) -> np.ndarray:
  """Corners of boxes, clipped to the image: cxcywh [...,4] -> xyxy [...,4]."""
  boxes = np.asarray(boxes, np.float64)
  half = boxes[..., 2:] / 2
  corners = [boxes[..., :2] - half, boxes[..., :2] + half]
  return np.clip(np.concatenate(corners, axis=-1), 0, 1)


def ground(
  predict: Predict, params: Tree, examples: Examples, batching: Batching
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
  """Grounds all examples, those of one image together: it is encoded once.

  Args:
    predict: holds encode_image and ground.
    params: their parameters.
    examples: the split.
    batching: how they are fed.

  Yields:
    Row of an example, and what ground says of it, on the host; `boxes` and
    `proposals` as xyxy.
  """
  function = evaluator.paired(predict["ground"])
  count = int(examples.image.max()) + 1
  chunks = evaluator.ImageChunks(
    predict, params, examples.images, count, batching
  )
  for chunk in range(len(chunks)):
    first = chunks.rows(chunk)[0]
    place = examples.image - first
    mine = np.flatnonzero((place >= 0) & (place < batching.size))
    for batch, used in evaluator.batches(len(mine), batching.size):
      rows = mine[batch]
      inputs = (
        place[rows].astype(np.int32),
        examples.tokens[rows],
        examples.mask[rows],
      )
      found = function(params, chunks.states(chunk), *batching.place(inputs))
      states = dict(evaluator.fetch(found))
      for name in {"boxes", "proposals"} & set(states):
        states[name] = to_xyxy(states[name])
      for position, row in enumerate(rows[:used]):
        yield int(row), evaluator.take(states, position)


def score_example(
  states: dict[str, np.ndarray],
  phrase_tokens: np.ndarray,
  truths: list[Truth],
) -> list[dict[str, float]]:
  """Scores the phrases of one example that have a box.

  Args:
    states: one row of `ground`: boxes [L+1,R,4] xyxy, region_mask [R], scores
      [L+1,R,N], token_weight [N] and, where the model has one, map [h,w,N].
    phrase_tokens: bool [P,N].
    truths: what is known of each phrase.

  Returns:
    One record per phrase with a box, see `phrase_recall.score_phrase`.
  """
  boxes, scores, maps = phrase_answers(states, phrase_tokens[: len(truths)])
  return [
    phrase_recall.score_phrase(boxes, score, similarity, truth)
    for score, similarity, truth in zip(scores, maps, truths)
    if len(truth.boxes)
  ]


def phrase_answers(
  states: dict[str, np.ndarray], phrase_tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Sequence[np.ndarray | None]]:
  """Regions and maps as phrases score them.

  Args:
    states: one row of `ground`, as `score_example` takes it.
    phrase_tokens: bool [P,N].

  Returns:
    boxes [L+1,R,4] of the kept regions, scores [P,L+1,R], and per phrase a map
    [h,w], or None where the model has none.
  """
  kept, weight = states["region_mask"].astype(bool), states["token_weight"]
  tokens = phrase_tokens.astype(bool)
  scores = phrase_recall.phrase_mean(states["scores"][:, kept], tokens, weight)
  maps: Sequence[np.ndarray | None] = [None] * len(tokens)
  if "map" in states:
    maps = list(phrase_recall.phrase_mean(states["map"], tokens, weight))
  return states["boxes"][:, kept], scores, maps


def evaluate_grounding(
  predict: Predict,
  params: Tree,
  examples: Examples,
  *,
  batching: Batching,
  watch: Watch | None = None,
) -> dict[str, Any]:
  """Scores phrase grounding over a split.

  Args:
    predict: holds encode_image and ground.
    params: their parameters.
    examples: the split.
    batching: how it is fed.
    watch: told of every example as it is scored.

  Returns:
    task, protocol, score, samples, metrics and chance of the report.

  Raises:
    ValueError: no phrase with a box, outputs that are not finite.
  """
  phrases = []
  with evaluator.progress_bar("grounding", batching) as bar:
    for row, states in ground(predict, params, examples, batching):
      own = score_example(
        states, examples.phrase_tokens[row], examples.truths[row]
      )
      if watch is not None:
        watch(row, states, own)
      phrases += own
      bar.update()
  metrics = phrase_recall.grounding_metrics(phrases)
  lengths = [
    tokens[: len(truths)].any(axis=-1)
    for tokens, truths in zip(examples.phrase_tokens, examples.truths)
  ]
  named = sum(len(truths) for truths in examples.truths)
  return {
    "task": "grounding",
    "protocol": PROTOCOL,
    "score": f"level{metrics_levels(metrics)}",
    "samples": {
      "captions": len(examples.tokens),
      "phrases": len(phrases),
      "phrases_without_box": named - len(phrases),
      "phrases_truncated": int(sum((~x).sum() for x in lengths)),
    },
    "metrics": metrics,
    "chance": phrase_recall.chance_of(metrics),
  }


def metrics_levels(metrics: dict[str, float]) -> int:
  """Highest level among the metrics, whose regions the plain names score."""
  prefix = "grounding_r1_level"
  return max(
    int(name[len(prefix) :]) for name in metrics if name.startswith(prefix)
  )


def take_snapshot(
  predict: Predict,
  params: Tree,
  examples: Examples,
  *,
  captions: Sequence[str],
  phrases: Sequence[Sequence[str]],
  step: int,
  batching: Batching,
) -> dict[str, np.ndarray]:
  """What the model sees in a few examples, for `snapshot.save_snapshot`.

  Args:
    predict: holds encode_image and ground.
    params: their parameters.
    examples: the few; a phrase without an annotated box has an empty truth.
    captions: their texts.
    phrases: their phrases in words, in the order of `phrase_tokens`.
    step: optimiser steps behind the parameters.
    batching: how they are fed; the size of evaluation spares a compilation.

  Returns:
    The arrays of a snapshot.
  """
  found = dict(ground(predict, params, examples, batching))
  states = {
    name: np.stack([found[row][name] for row in range(len(captions))])
    for name in found[0]
  }
  most = examples.phrase_tokens.shape[1]
  truth = np.full((len(captions), most, 4), np.nan)
  names = np.full((len(captions), most), "", dtype=object)
  for row, truths in enumerate(examples.truths):
    names[row, : len(phrases[row])] = list(phrases[row])
    for phrase, known in enumerate(truths):
      if len(known.boxes):
        truth[row, phrase] = enclosing(np.asarray(known.boxes))[0]
  phrase_scores = [
    phrase_recall.phrase_mean(scores, tokens.astype(bool), weight)
    for scores, tokens, weight in zip(
      states["scores"], examples.phrase_tokens, states["token_weight"]
    )
  ]
  nothing = np.zeros((len(captions), 0, 4))
  proposals = states.get("proposals", nothing)
  return {
    "step": np.array(step),
    "image": np.asarray(examples.images[examples.image]),
    "caption": np.array([str(caption) for caption in captions]),
    "phrase": names.astype(str),
    "phrase_scores": np.stack(phrase_scores).astype(np.float32),
    "boxes": states["boxes"].astype(np.float32),
    "region_mask": states["region_mask"].astype(bool),
    "proposals": proposals.astype(np.float32),
    "proposal_score": np.asarray(
      states.get("proposal_score", proposals[..., 0]), np.float32
    ),
    "truth": truth,
  }
