"""Image-text retrieval: ranks, recall at k, re-ranking in two stages.

Axis letters: Q queries, G gallery (the candidates of a query), I images,
T texts. Ranks are counted from 0; rates are in percent.

Tie rule: a tie counts against us. The rank of a query is the number of wrong
candidates that score at least as high as its best right one, so a constant
score ranks last, never first.
"""

import numpy as np

CUTOFFS = (1, 5, 10)
DIRECTIONS = ("i2t", "t2i")


def checked_scores(scores: np.ndarray, name: str) -> np.ndarray:
  """Returns the scores as a float array after looking at them.

  Args:
    scores: [Q,G] numbers.
    name: what they are, for the message.

  Returns:
    [Q,G] float.

  Raises:
    ValueError: not a matrix, an empty gallery, or a NaN or infinite score.
  """
  scores = np.asarray(scores)
  if scores.ndim != 2 or 0 in scores.shape:
    raise ValueError(
      f"{name}: expected a matrix of queries by candidates with at least one "
      f"of each, got shape {scores.shape}; is the gallery empty?"
    )
  finite = np.isfinite(scores)
  if not finite.all():
    row, column = np.argwhere(~finite)[0]
    raise ValueError(
      f"{name}: {(~finite).sum()} of {scores.size} scores are not finite, the "
      f"first at query {row}, candidate {column}; the model has diverged"
    )
  return scores


def relevance(text_image: np.ndarray, images: int) -> np.ndarray:
  """Which text describes which image.

  Args:
    text_image: int [T], row of the image that each text describes.
    images: number of images in the gallery.

  Returns:
    bool [I,T].

  Raises:
    ValueError: a row outside the gallery, or an image without a text.
  """
  text_image = np.asarray(text_image)
  if images < 1 or text_image.size < 1:
    raise ValueError(
      f"empty gallery: {images} images, {text_image.size} texts; at least one "
      "of each is needed"
    )
  if text_image.min() < 0 or text_image.max() >= images:
    raise ValueError(
      f"text_image: rows must lie in 0..{images - 1}, got "
      f"{text_image.min()}..{text_image.max()}"
    )
  missing = np.setdiff1d(np.arange(images), text_image)
  if missing.size:
    raise ValueError(
      f"{missing.size} images have no text, the first at row {missing[0]}; "
      "leave them out of the gallery"
    )
  return text_image[None, :] == np.arange(images)[:, None]


def best_ranks(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
  """Rank of the best right candidate of each query, ties against us.

  Args:
    scores: [Q,G], higher is better.
    relevant: bool [Q,G], at least one per query.

  Returns:
    int [Q], 0 = first.

  Raises:
    ValueError: bad scores, shapes that differ, a query without a right answer.
  """
  scores = checked_scores(scores, "scores")
  if relevant.shape != scores.shape:
    raise ValueError(
      f"relevant has shape {relevant.shape}, scores {scores.shape}"
    )
  if not relevant.any(axis=1).all():
    raise ValueError("relevant: a query has no right candidate")
  floor = np.iinfo(scores.dtype).min if scores.dtype.kind == "i" else -np.inf
  best = np.where(relevant, scores, floor).max(axis=1, keepdims=True)
  return (~relevant & (scores >= best)).sum(axis=1)


def dense_rank(scores: np.ndarray) -> np.ndarray:
  """Order of the distinct values of each row: the lowest is 0, ties are equal.

  Args:
    scores: [Q,G].

  Returns:
    int [Q,G].
  """
  order = np.argsort(scores, axis=1, kind="stable")
  ascending = np.take_along_axis(scores, order, axis=1)
  steps = np.zeros(scores.shape, np.int64)
  steps[:, 1:] = np.cumsum(ascending[:, 1:] > ascending[:, :-1], axis=1)
  ranks = np.empty_like(steps)
  np.put_along_axis(ranks, order, steps, axis=1)
  return ranks


def top_candidates(scores: np.ndarray, k: int) -> np.ndarray:
  """Marks the k best candidates of each query: the second stage scores these.

  Equal scores are taken in the order of the gallery, as a search would,
  without looking at which are right.

  Args:
    scores: [Q,G].
    k: candidates per query; the whole gallery when it has fewer.

  Returns:
    bool [Q,G].

  Raises:
    ValueError: k below 1.
  """
  if k < 1:
    raise ValueError(f"top_k must be at least 1, got {k}")
  scores = checked_scores(scores, "scores")
  chosen = np.zeros(scores.shape, bool)
  order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
  np.put_along_axis(chosen, order, True, axis=1)
  return chosen


def rerank(
  first: np.ndarray, second: np.ndarray, scored: np.ndarray
) -> np.ndarray:
  """Joins two stages: unscored candidates rank after every scored one.

  Scored candidates are ordered by the second stage, the others by the first.

  Args:
    first: [Q,G] scores of the first stage.
    second: [Q,G] scores of the second stage, read only where `scored`.
    scored: bool [Q,G].

  Returns:
    int [Q,G], a score whose order is the joint one; ties stay ties.
  """
  first = checked_scores(first, "first stage")
  second = checked_scores(np.where(scored, second, 0), "second stage")
  size = first.shape[1]
  return np.where(scored, size + dense_rank(second), dense_rank(first))


def standardize(
  scores: np.ndarray, where: np.ndarray | None = None
) -> np.ndarray:
  """z-scores over the whole matrix, so that unlike scores can be added.

  Args:
    scores: numbers of any shape.
    where: bool, the entries whose mean and deviation count; None = all.

  Returns:
    float64 of the same shape; zeros when the scores do not vary.
  """
  scores = np.asarray(scores, np.float64)
  sample = scores if where is None else scores[where]
  deviation = sample.std() if sample.size else 0.0
  if deviation == 0:
    return np.zeros_like(scores)
  return (scores - sample.mean()) / deviation


def recall(ranks: np.ndarray, k: int) -> float:
  """Recall at k: queries with a right answer among the first k, in percent."""
  return float(100 * np.mean(np.asarray(ranks) < k))


def retrieval_metrics(
  image_to_text: np.ndarray, text_to_image: np.ndarray, text_image: np.ndarray
) -> dict[str, float]:
  """R@1, 5, 10 both ways, their mean, and the median rank.

  Args:
    image_to_text: [I,T] scores of the texts for each image.
    text_to_image: [T,I] scores of the images for each text.
    text_image: int [T], row of the image that each text describes.

  Returns:
    `i2t_r1` ... `t2i_r10`, `r_mean` (percent); `mdr`, the median rank of the
    right image (text to image, first = 1), and `i2t_mdr`.

  Raises:
    ValueError: empty gallery, scores that are not finite, bad shapes.
  """
  relevant = relevance(text_image, np.asarray(image_to_text).shape[0])
  ranks = {
    "i2t": best_ranks(image_to_text, relevant),
    "t2i": best_ranks(text_to_image, relevant.T),
  }
  metrics = {
    f"{direction}_r{k}": recall(ranks[direction], k)
    for direction in DIRECTIONS
    for k in CUTOFFS
  }
  metrics["r_mean"] = float(np.mean(list(metrics.values())))
  metrics["mdr"] = float(np.median(ranks["t2i"]) + 1)
  metrics["i2t_mdr"] = float(np.median(ranks["i2t"]) + 1)
  return metrics
