"""Object detection by prompt: drives detect over a split.

Every prompt is encoded once. A batch of images is encoded once and asked all
prompts while it is on the devices; of each image only the best boxes are kept,
so that memory is bounded by what is reported.

Axis letters: I images, K prompts, C classes of a prompt, N tokens, R regions,
D detections kept of an image.
"""

from typing import Any, NamedTuple

import numpy as np

from slan_jax.evaluation import evaluator
from slan_jax.evaluation.evaluator import Batching, Predict, Tree


class Detections(NamedTuple):
  """The best boxes of every image, best first.

  Attributes:
    boxes: float32 [I,D,4] xyxy in [0,1].
    scores: float32 [I,D]; -1 = none left.
    labels: int32 [I,D], numbers of classes; -1 = none left.
  """

  boxes: np.ndarray
  scores: np.ndarray
  labels: np.ndarray


def detect_objects(
  predict: Predict,
  params: Tree,
  images: Any,
  count: int,
  prompts: Any,
  *,
  most: int,
  batching: Batching,
) -> Detections:
  """Looks for every class in every image.

  Args:
    predict: holds encode_image, encode_text and detect.
    params: their parameters.
    images: uint8 [I,S,S,3], or what an int array of rows indexes.
    count: I.
    prompts: the class list as texts, each class in one of them: ids int32
      [K,N], mask bool [K,N], class_tokens bool [K,C,N], tokens of each class,
      and classes int32 [K,C], its number (-1 = a place without a class).
    most: D, boxes kept of an image.
    batching: how the images are fed.

  Returns:
    The detections.

  Raises:
    ValueError: no image, or scores or boxes that are not finite.
  """
  if count < 1:
    raise ValueError("detection: the split has no image")
  encode = evaluator.jitted(predict["encode_image"])
  detect = evaluator.jitted(predict["detect"])
  texts = _encode_prompts(predict, params, prompts)
  found = []
  with evaluator.progress_bar("detection", batching) as bar:
    for rows, used in evaluator.batches(count, batching.size):
      batch = batching.place(np.asarray(images[rows]))
      states = encode(params, batch)
      best = _nothing(len(rows), most)
      for text, tokens, classes in zip(
        texts, prompts.class_tokens, prompts.classes
      ):
        answer = evaluator.fetch(detect(params, states, text, tokens))
        best = _merged(best, answer, classes)
      found.append(evaluator.take(best, slice(used)))
      bar.update(used)
  return Detections(*(np.concatenate(parts) for parts in zip(*found)))


def _encode_prompts(predict: Predict, params: Tree, prompts: Any) -> list[Tree]:
  encode = evaluator.jitted(predict["encode_text"])
  return [
    encode(params, ids[None], mask[None])
    for ids, mask in zip(prompts.ids, prompts.mask)
  ]


def _nothing(rows: int, most: int) -> Detections:
  return Detections(
    boxes=np.zeros((rows, most, 4), np.float32),
    scores=np.full((rows, most), -1, np.float32),
    labels=np.full((rows, most), -1, np.int32),
  )


def _merged(
  best: Detections, answer: dict[str, np.ndarray], classes: np.ndarray
) -> Detections:
  """The best of what was found before and of one prompt's answer."""
  boxes, scores = answer["boxes"], answer["scores"]
  for name, array in answer.items():
    if not np.isfinite(array).all():
      raise ValueError(
        f"detection: {name} hold values that are not finite; the model has "
        "diverged"
      )
  rows, regions, places = scores.shape
  scores = np.where(classes >= 0, scores, -1).reshape(rows, -1)
  labels = np.where(scores >= 0, np.tile(classes, regions)[None], -1)
  scores = np.concatenate([best.scores, np.where(labels >= 0, scores, -1)], 1)
  labels = np.concatenate([best.labels, labels], 1)
  boxes = np.concatenate([best.boxes, np.repeat(boxes, places, axis=1)], 1)
  # Stable: among equal scores the earlier prompt and region come first.
  order = np.argsort(-scores, axis=1, kind="stable")[:, : best.scores.shape[1]]
  return Detections(
    boxes=np.take_along_axis(boxes, order[..., None], axis=1),
    scores=np.take_along_axis(scores, order, axis=1),
    labels=np.take_along_axis(labels, order, axis=1).astype(np.int32),
  )


def shuffled(found: Detections, *, seed: int) -> Detections:
  """The same boxes with random scores and classes: what chance scores.

  Args:
    found: of a model.
    seed: of the generator.
  """
  rng = np.random.default_rng(seed)
  there = found.labels >= 0
  known = np.unique(found.labels[there])
  if not len(known):
    return found
  scores = np.where(there, rng.uniform(size=there.shape), -1)
  labels = np.where(there, rng.choice(known, size=there.shape), -1)
  return found._replace(
    scores=scores.astype(np.float32), labels=labels.astype(np.int32)
  )
