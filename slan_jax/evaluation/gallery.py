"""Galleries, the two stages over one, and the scores that are reported.

Axis letters: I images, T texts. Scores are [I,T] over the widest gallery;
every gallery is its first images, so each pair is scored once for all of them.
"""

from typing import NamedTuple

import numpy as np

from slan_jax.evaluation import chance, recall

FIRST_STAGES = ("itc", "itc+phrase")


class Gallery(NamedTuple):
  """The first images of a split and the texts that describe them.

  Attributes:
    images: number of images; their rows are 0..images-1.
    texts: int [T], rows of the texts.
    text_image: int [T], row of the image that each of these texts describes.
  """

  images: int
  texts: np.ndarray
  text_image: np.ndarray


def select_gallery(
  text_image: np.ndarray, images: int, texts_per_image: int | None
) -> Gallery:
  """Takes the first images of a split with the first texts of each.

  Args:
    text_image: int [T], row of the image that each text describes.
    images: images wanted; fewer when the split holds fewer.
    texts_per_image: texts kept of each image; None keeps all.

  Returns:
    The gallery.

  Raises:
    ValueError: no image or no text to take, or an image without a text.
  """
  if images < 1 or not len(text_image):
    raise ValueError(
      f"empty gallery: {images} images wanted from {len(text_image)} texts"
    )
  images = min(images, int(np.max(text_image)) + 1)
  seen = np.zeros(images, int)
  rows = []
  for row, image in enumerate(text_image):
    if image >= images:
      continue
    seen[image] += 1
    if texts_per_image is None or seen[image] <= texts_per_image:
      rows.append(row)
  rows = np.array(rows, int)
  gallery = Gallery(images, rows, np.asarray(text_image)[rows])
  recall.relevance(gallery.text_image, images)
  return gallery


def select_galleries(
  text_image: np.ndarray, sizes: tuple[int, ...], texts_per_image: int | None
) -> list[Gallery]:
  """One gallery per distinct size; the first is the headline.

  Sizes beyond the split become the whole split, once.
  """
  found = {}
  for size in sizes:
    gallery = select_gallery(text_image, size, texts_per_image)
    found.setdefault(gallery.images, gallery)
  if not found:
    raise ValueError("galleries: expected at least one size")
  return list(found.values())


class Stages(NamedTuple):
  """Scores of one gallery, before and after re-ranking, in both directions.

  Attributes:
    alone: name -> [I,T] scores that need no second stage.
    first: [I,T], the first stage that chooses the candidates.
    candidates: direction -> bool; [I,T] for i2t, [T,I] for t2i.
  """

  alone: dict[str, np.ndarray]
  first: np.ndarray
  candidates: dict[str, np.ndarray]


def first_stage(
  gallery: Gallery, scores: dict[str, np.ndarray], name: str, top_k: int
) -> Stages:
  """First stage of a gallery: cheap scores of all pairs, k candidates each way.

  Args:
    gallery: which rows.
    scores: "itc" and, where the model has one, "phrase"; [I,T] over the widest
      gallery.
    name: "itc" or "itc+phrase" (the sum of their z-scores over the gallery).
    top_k: candidates per query that the second stage may score.

  Returns:
    Its scores and candidates.

  Raises:
    ValueError: unknown name, a missing score, scores that are not finite.
  """
  alone = {
    part: recall.checked_scores(
      matrix[: gallery.images, gallery.texts], f"{part} scores"
    )
    for part, matrix in scores.items()
  }
  if "phrase" in alone:
    alone["itc+phrase"] = recall.standardize(alone["itc"]) + recall.standardize(
      alone["phrase"]
    )
  if name not in FIRST_STAGES or name not in alone:
    raise ValueError(
      f"first_stage: {name!r} is not among the scores of this model, "
      f"{', '.join(stage for stage in FIRST_STAGES if stage in alone)}"
    )
  first = alone[name]
  candidates = {
    "i2t": recall.top_candidates(first, top_k),
    "t2i": recall.top_candidates(first.T, top_k),
  }
  return Stages(alone, first, candidates)


def wanted_pairs(galleries: list[Gallery], stages: list[Stages]) -> np.ndarray:
  """Pairs that the second stage scores for any gallery: bool [I,T]."""
  images = max(gallery.images for gallery in galleries)
  texts = 1 + max(int(gallery.texts.max()) for gallery in galleries)
  wanted = np.zeros((images, texts), bool)
  for gallery, stage in zip(galleries, stages):
    either = stage.candidates["i2t"] | stage.candidates["t2i"].T
    wanted[: gallery.images, gallery.texts] |= either
  return wanted


def final_scores(
  gallery: Gallery, stages: Stages, itm: np.ndarray | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Every score of a gallery, ready to be ranked.

  `itm` orders a query's candidates by the matching logit alone; `sum` by the
  z-scores of logit and first stage. What was not re-ranked comes after.

  Args:
    gallery: which rows.
    stages: its first stage.
    itm: [I,T] matching logits over the widest gallery; None = no second stage.

  Returns:
    name -> (image to text [I,T], text to image [T,I]).
  """
  scores = {name: (x, x.T) for name, x in stages.alone.items()}
  if itm is None:
    return scores
  i2t, t2i = stages.candidates["i2t"], stages.candidates["t2i"]
  scored = i2t | t2i.T
  logit = np.where(scored, itm[: gallery.images, gallery.texts], 0)
  total = recall.standardize(logit, scored) + recall.standardize(stages.first)
  for name, second in (("itm", logit), ("sum", total)):
    scores[name] = (
      recall.rerank(stages.first, second, i2t),
      recall.rerank(stages.first.T, second.T, t2i),
    )
  return scores


def gallery_report(
  gallery: Gallery,
  scores: dict[str, tuple[np.ndarray, np.ndarray]],
  score: str,
) -> tuple[dict[str, float], dict[str, float]]:
  """Metrics of a gallery and what guessing gets.

  Args:
    gallery: which rows.
    scores: of `final_scores`.
    score: the declared score, whose metrics carry no prefix.

  Returns:
    Metrics (other scores under their name, "+" written "_"), chance.

  Raises:
    ValueError: the declared score does not exist for this model.
  """
  if score not in scores:
    raise ValueError(
      f"score: {score!r} is not among the scores of this model, "
      f"{', '.join(scores)}"
    )
  metrics = {}
  for name in sorted(scores, key=lambda name: name != score):
    values = recall.retrieval_metrics(*scores[name], gallery.text_image)
    prefix = name.replace("+", "_")
    if name == score:
      metrics |= values
    metrics |= {f"{prefix}_{key}": value for key, value in values.items()}
  return metrics, chance.chance_metrics(gallery.text_image, gallery.images)


def protocol(
  galleries: list[Gallery], stage: str, score: str, top_k: int
) -> str:
  """Says in words how the numbers came about."""
  first_k = _candidates(galleries, top_k)
  sizes = " and ".join(
    f"{gallery.images} images with {len(gallery.texts)} texts"
    for gallery in galleries
  )
  first = {
    "itc": "ITC similarity",
    "itc+phrase": "sum of the z-scores of ITC and phrase similarity",
  }[stage]
  second = {
    "itm": f"{first_k} re-ranked by the ITM logit alone",
    "sum": (
      f"{first_k} re-ranked by the sum of the z-scores of ITM logit and first "
      "stage"
    ),
  }.get(score, f"not re-ranked; ranked by {score}")
  return (
    f"gallery: the first {sizes} of the split. First stage: {first}. Second "
    f"stage: {second}; the others rank after them. Ties count against the "
    "model. Image to text: the best of an image's texts counts."
  )


def _candidates(galleries: list[Gallery], top_k: int) -> str:
  """How many of a query are re-ranked: no more than a gallery holds."""
  told = []
  for gallery in galleries:
    texts, images = (
      min(top_k, count) for count in (len(gallery.texts), gallery.images)
    )
    told.append(
      f"the first {images} per query"
      if texts == images
      else f"the first {texts} texts per image and {images} images per text"
    )
  return " and ".join(dict.fromkeys(told))  # once where all are alike
