"""What guessing scores, in closed form: a number to hold every score against.

Axis letters: Q queries, G gallery (the candidates of a query). Rates are in
percent.
"""

import numpy as np

from slan_jax.evaluation.recall import CUTOFFS, DIRECTIONS, relevance


def chance_curve(right: np.ndarray, gallery: int) -> np.ndarray:
  """Recall at every k of a random order, in closed form.

  A query with m right answers among G misses all of them in its first k with
  probability C(G-m, k) / C(G, k), a product of k simple ratios.

  Args:
    right: int [Q], right answers of each query.
    gallery: G.

  Returns:
    float [G+1], percent; entry k is the recall at k, entry 0 is 0.
  """
  counts, queries = np.unique(right, return_counts=True)
  drawn = np.arange(gallery)
  ratio = np.clip(gallery - counts[:, None] - drawn, 0, None) / (
    gallery - drawn
  )
  missed = np.average(np.cumprod(ratio, axis=1), axis=0, weights=queries)
  return np.concatenate([[0.0], 100 * (1 - missed)])


def chance_recall(right: np.ndarray, gallery: int, k: int) -> float:
  """Recall at k of a random order, in percent; see `chance_curve`."""
  return float(chance_curve(right, gallery)[min(k, gallery)])


def chance_median_rank(right: np.ndarray, gallery: int) -> float:
  """Median rank (first = 1) of a random order, in closed form.

  Args:
    right: int [Q], right answers of each query.
    gallery: G.

  Returns:
    The median over queries and orders; halfway when it falls between two.
  """
  reached = chance_curve(right, gallery)
  # Rounding must not decide on which side of one half a value falls.
  low = np.argmax(reached >= 50 - 1e-9)
  high = np.argmax(reached > 50 + 1e-9)
  return float((low + high) / 2)


def chance_metrics(text_image: np.ndarray, images: int) -> dict[str, float]:
  """What a random order scores: the same names as `retrieval_metrics`."""
  relevant = relevance(text_image, images)
  right = {"i2t": relevant.sum(axis=1), "t2i": relevant.sum(axis=0)}
  size = {"i2t": relevant.shape[1], "t2i": relevant.shape[0]}
  metrics = {
    f"{direction}_r{k}": chance_recall(right[direction], size[direction], k)
    for direction in DIRECTIONS
    for k in CUTOFFS
  }
  metrics["r_mean"] = float(np.mean(list(metrics.values())))
  metrics["mdr"] = chance_median_rank(right["t2i"], size["t2i"])
  metrics["i2t_mdr"] = chance_median_rank(right["i2t"], size["i2t"])
  return metrics
