"""Platt scaling: log odds of a match as probabilities that keep their word.

Axis letters: I images, of each of which one text is known; n pairs.
"""

from typing import Any, NamedTuple

import numpy as np

NEAR = 16  # likest texts of other images that a hard negative is drawn from
BINS = 15  # of the calibration error
PROTOCOL = (
  "Each image with its own text (a match) and, at half the weight each, with "
  "the text of a random other image and with one of the {near} texts of others "
  "that ITC finds likest; equal texts are no negatives. Fitted on every second "
  "image, measured on the others. On other pictures, or where more or fewer "
  "pairs match, it is a guess."
)


class Calibration(NamedTuple):
  """Probability = sigmoid(slope * log odds + intercept)."""

  slope: float = 1.0
  intercept: float = 0.0

  def __call__(self, log_odds: np.ndarray) -> np.ndarray:
    """Probabilities, float64, of the shape of the log odds."""
    return _sigmoid(
      self.slope * np.asarray(log_odds, np.float64) + self.intercept
    )


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return (1 + np.tanh(x / 2)) / 2


class Pairs(NamedTuple):
  """Pairs to fit on.

  Attributes:
    image, text: int [n], rows. match: bool [n].
    weight: float [n]; matches and others weigh the same in all.
  """

  image: np.ndarray
  text: np.ndarray
  match: np.ndarray
  weight: np.ndarray


def choose_pairs(itc: np.ndarray, tokens: np.ndarray, seed: int = 0) -> Pairs:
  """Pairs as `PROTOCOL` says.

  Args:
    itc: [I,I] similarity of every image with the text of every image.
    tokens: int [I,N], the texts; equal rows are equal texts.
    seed: of the drawing.

  Raises:
    ValueError: fewer than four images, or all texts are equal.
  """
  rng, count = np.random.default_rng(seed), len(itc)
  _, kind = np.unique(tokens, axis=0, return_inverse=True)
  other = kind[:, None] != kind[None]
  if count < 4 or not other.any(axis=1).all():
    raise ValueError(
      f"{count} images with {kind.max() + 1} different texts are too few to "
      "calibrate on"
    )
  rows = np.arange(count)
  chance = np.where(other, rng.random(other.shape), -1).argmax(axis=1)
  order = np.argsort(np.where(other, -itc, np.inf), axis=1)
  most = np.minimum(other.sum(axis=1), NEAR)
  near = order[rows, rng.integers(0, most)]
  match = np.repeat([True, False, False], count)
  return Pairs(
    np.tile(rows, 3),
    np.concatenate([rows, chance, near]),
    match,
    np.where(match, 1.0, 0.5),
  )


def fit(
  log_odds: np.ndarray, match: np.ndarray, weight: np.ndarray
) -> Calibration:
  """The best slope and intercept, with Platt's softened targets.

  Args:
    log_odds: [n].
    match: bool [n].
    weight: [n].
  """
  # Imported here: only who fits needs it, and it takes a while.
  from scipy import optimize

  high, low = match.sum() + 1, (~match).sum() + 1
  target = np.where(match, high / (high + 1), 1 / (low + 1))

  def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
    x = values[0] * log_odds + values[1]
    each = np.logaddexp(0, x) - target * x
    slope = weight * (_sigmoid(x) - target)
    return np.sum(weight * each), np.array([slope @ log_odds, slope.sum()])

  found = optimize.minimize(
    loss, [1.0, 0.0], jac=True, method="L-BFGS-B",
    bounds=[(1e-4, None), (None, None)],
  )  # fmt: skip
  return Calibration(*map(float, found.x))


def quality(
  probability: np.ndarray, match: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
  """How far probabilities keep their word.

  Returns:
    nll, the mean negative log likelihood in nats, and ece, the mean gap
    between probability and frequency over bins of equal width.
  """
  p = np.clip(probability, 1e-12, 1 - 1e-12)
  share = weight / weight.sum()
  nll = -np.sum(share * np.where(match, np.log(p), np.log1p(-p)))
  place = np.minimum((p * BINS).astype(int), BINS - 1)
  gaps = np.bincount(place, share * (p - match), BINS)
  return {"nll": float(nll), "ece": float(np.abs(gaps).sum())}


def calibrate(pairs: Pairs, log_odds: np.ndarray) -> dict[str, Any]:
  """Fits on pairs of every second image and measures on the others.

  Args:
    pairs: of `choose_pairs`.
    log_odds: [n] of the model.

  Returns:
    slope, intercept, images, pairs, protocol, and the quality of `raw` and
    `calibrated` probabilities.
  """
  odds = np.asarray(log_odds, np.float64)
  even = pairs.image % 2 == 0
  found = fit(odds[even], pairs.match[even], pairs.weight[even])
  rest = pairs.match[~even], pairs.weight[~even]
  return {
    **found._asdict(),
    "images": len(np.unique(pairs.image)),
    "pairs": len(odds),
    "protocol": PROTOCOL.format(near=NEAR),
    "raw": quality(Calibration()(odds[~even]), *rest),
    "calibrated": quality(found(odds[~even]), *rest),
  }
