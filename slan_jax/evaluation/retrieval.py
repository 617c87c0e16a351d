"""Two-stage image-text retrieval: from predict functions to a report.

Axis letters: I images, T texts, N tokens.
"""

from typing import Any, NamedTuple

import numpy as np

from slan_jax.evaluation import evaluator
from slan_jax.evaluation import gallery as galleries_
from slan_jax.evaluation.evaluator import Batching, Predict, Tree
from slan_jax.evaluation.gallery import Gallery, Stages
from slan_jax.evaluation.partial import NOTHING, Partial
from slan_jax.evaluation.text_blocks import TextBlocks


class Texts(NamedTuple):
  """Texts of a split.

  Attributes:
    tokens: int32 [T,N].
    mask: bool [T,N], True on real tokens.
    image: int [T], row of the image that each text describes.
  """

  tokens: np.ndarray
  mask: np.ndarray
  image: np.ndarray


class Retrieval(NamedTuple):
  """Outcome of `evaluate_retrieval`.

  Attributes:
    report: task, protocol, score, samples, metrics and chance.
    gallery: the headline gallery; its rows are those of the split.
    text_to_image: [T,I] its declared scores, higher is better.
  """

  report: dict[str, Any]
  gallery: Gallery
  text_to_image: np.ndarray


def _scores(
  predict: Predict,
  params: Tree,
  images: Any,
  texts: Texts,
  chosen: list[Gallery],
  first_stage: str,
  top_k: int,
  batching: Batching,
  partial: Partial,
) -> tuple[list[Stages], np.ndarray, np.ndarray | None]:
  """Runs both stages; rows of the galleries count within `texts`."""
  count = max(gallery.images for gallery in chosen)
  with evaluator.progress_bar("retrieval", batching) as bar:
    blocks = TextBlocks(
      predict, params, texts.tokens, texts.mask, batching, bar
    )
    chunks = evaluator.ImageChunks(predict, params, images, count, batching)

    def first(rows: slice, states: Tree) -> dict[str, np.ndarray]:
      return evaluator.score_all(
        predict, params, chunks, states, batching, bar, partial, rows.start
      )

    parts = blocks.each(first)
    alone = {
      name: np.concatenate([part[name] for part in parts], axis=1)
      for name in parts[0]
    }
    stages = [
      galleries_.first_stage(gallery, alone, first_stage, top_k)
      for gallery in chosen
    ]
    wanted, itm = galleries_.wanted_pairs(chosen, stages), None

    def second(rows: slice, states: Tree) -> np.ndarray:
      return evaluator.score_pairs(
        predict["itm"], params, chunks, states, wanted[:, rows], batching, bar,
        partial, rows.start,
      )  # fmt: skip

    if "itm" in predict:
      itm = np.concatenate(blocks.each(second), axis=1)
  return stages, wanted, itm


def evaluate_retrieval(
  predict: Predict,
  params: Tree,
  images: Any,
  texts: Texts,
  *,
  galleries: tuple[int, ...],
  texts_per_image: int | None,
  top_k: int,
  first_stage: str,
  score: str,
  batching: Batching,
  partial: Partial = NOTHING,
) -> Retrieval:
  """Scores image-text retrieval over one or more galleries.

  Args:
    predict: encode_image, encode_text, itc and, where the model has them,
      phrase and itm.
    params: parameters of the predict functions.
    images: uint8 [I,S,S,3], or anything that an int array of rows indexes.
    texts: the texts of these images.
    galleries: images per gallery; the first is the headline, the others'
      metrics carry the prefix "gallery<images>_".
    texts_per_image: texts of each image in the gallery; None = all.
    top_k: candidates per query that the second stage re-ranks.
    first_stage: "itc" or "itc+phrase".
    score: declared score: "itm", "sum", or "stage1" for the first stage.
    batching: how the split is fed.
    partial: has the chunks that were finished before, and keeps these; its key
      must cover the parameters, the images and the texts.

  Returns:
    The report and the headline ranking.

  Raises:
    ValueError: empty gallery, unknown score, scores that are not finite.
  """
  chosen = galleries_.select_galleries(texts.image, galleries, texts_per_image)
  headline, score = chosen[0], first_stage if score == "stage1" else score
  # Texts outside every gallery are never encoded: rows count within the rest.
  rows = max(chosen, key=lambda gallery: gallery.images).texts
  texts = Texts(*(np.asarray(x)[rows] for x in texts))
  chosen = [x._replace(texts=np.searchsorted(rows, x.texts)) for x in chosen]
  stages, wanted, itm = _scores(
    predict,
    params,
    images,
    texts,
    chosen,
    first_stage,
    top_k,
    batching,
    partial,
  )
  metrics, chance, ranking = {}, {}, None
  for gallery, stage in zip(chosen, stages):
    scores = galleries_.final_scores(gallery, stage, itm)
    found, guess = galleries_.gallery_report(gallery, scores, score)
    prefix = f"gallery{gallery.images}_" if metrics else ""
    metrics |= {prefix + name: value for name, value in found.items()}
    chance |= {prefix + name: value for name, value in guess.items()}
    ranking = scores[score][1] if ranking is None else ranking
  distinct = np.unique(texts.tokens[chosen[0].texts], axis=0)
  report = {
    "task": "retrieval",
    "protocol": galleries_.protocol(chosen, first_stage, score, top_k),
    "score": score,
    "samples": {
      "images": headline.images,
      "texts": len(headline.texts),
      "repeated_texts": len(headline.texts) - len(distinct),
      "pairs_reranked": 0 if itm is None else int(wanted.sum()),
    },
    "metrics": metrics,
    "chance": chance,
  }
  return Retrieval(report, headline, ranking)
