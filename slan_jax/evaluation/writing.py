"""Drives what writes texts: captions of images, answers to questions.

Axis letters: I images, Q questions, N tokens of a question, T tokens written,
C answers of a list, M tokens of an answer, K ranked answers.
"""

from typing import Any, NamedTuple

import numpy as np

from slan_jax.evaluation import evaluator
from slan_jax.evaluation.evaluator import Batching, Predict, Tree


class Questions(NamedTuple):
  """Questions about images.

  Attributes:
    tokens: int32 [Q,N].
    mask: bool [Q,N], True on real tokens.
    image: int [Q], row of the image that each one is about.
  """

  tokens: np.ndarray
  mask: np.ndarray
  image: np.ndarray


def write_captions(
  predict: Predict, params: Tree, images: Any, count: int, batching: Batching
) -> tuple[np.ndarray, np.ndarray]:
  """One caption of each image.

  Args:
    predict: holds `caption`.
    params: its parameters.
    images: uint8 [I,S,S,3], or what an int array of rows indexes.
    count: I.
    batching: how they are fed.

  Returns:
    Tokens int32 [I,T] without the prompt, [PAD] from the end on, and mean log
    probabilities [I].

  Raises:
    ValueError: no image, or probabilities that are not finite.
  """
  if count < 1:
    raise ValueError("captioning: the split has no image")
  function = evaluator.jitted(predict["caption"])
  tokens, scores = [], []
  with evaluator.progress_bar("captions", batching) as bar:
    for rows, used in evaluator.batches(count, batching.size):
      batch = np.asarray(images[rows]), rows.astype(np.int32)
      found = evaluator.fetch(function(params, *batching.place(batch)))
      _require_finite("captioning", found.score[:used])
      tokens.append(found.tokens[:used])
      scores.append(found.score[:used])
      bar.update(used)
  return np.concatenate(tokens), np.concatenate(scores)


def answer_questions(
  predict: Predict,
  params: Tree,
  images: Any,
  questions: Questions,
  answers: tuple[np.ndarray, np.ndarray] | None,
  batching: Batching,
) -> np.ndarray:
  """The best answer to each question; each image is encoded once.

  Args:
    predict: holds encode_image, and `rank` or `answer`.
    params: their parameters.
    images: uint8 [I,S,S,3], or what an int array of rows indexes.
    questions: about these images.
    answers: the list to rank, int32 and bool [C,M]; None = answer in any words.
    batching: how they are fed; `pairs` questions at a time.

  Returns:
    int32: rows of the list [Q], or tokens [Q,T] without a list.

  Raises:
    ValueError: no question, or probabilities that are not finite.
  """
  if not len(questions.image):
    raise ValueError("vqa: the split has no question")
  name = "answer" if answers is None else "rank"
  function = evaluator.paired(predict[name])
  rest = () if answers is None else answers
  order = np.argsort(questions.image, kind="stable")
  image = questions.image[order]
  count, found = int(image[-1]) + 1, {}
  chunks = evaluator.ImageChunks(predict, params, images, count, batching)
  with evaluator.progress_bar("questions", batching) as bar:
    for chunk in range(len(chunks)):
      rows = chunks.rows(chunk)
      first, last = np.searchsorted(image, [rows[0], rows[-1] + 1])
      asked = order[first:last]
      if not asked.size:
        continue
      states = chunks.states(chunk)
      for places, used in evaluator.batches(asked.size, batching.pairs):
        some = asked[places]
        batch = (
          (questions.image[some] - rows[0]).astype(np.int32),
          questions.tokens[some],
          questions.mask[some],
        )
        if answers is None:  # what is drawn goes by the question's number
          batch += (some.astype(np.int32),)
        out = function(params, states, *batching.place(batch), *rest)
        best, score = out if answers is None else (out[0][:, 0], out[1][:, 0])
        best, score = evaluator.fetch((best, score))
        _require_finite("vqa", score[:used])
        for question, answer in zip(some[:used], best):
          found[int(question)] = answer
        bar.update(used)
  return np.stack([found[row] for row in range(len(questions.image))])


def _require_finite(task: str, scores: np.ndarray) -> None:
  if not np.isfinite(scores).all():
    raise ValueError(
      f"{task}: log probabilities are not finite; the model has diverged"
    )
