"""Questions about pictures: rows to train on, and splits to score."""

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.input import augment, crop, image
from slan_jax.input.config import EvaluationConfig, InputConfig
from slan_jax.input.errors import BadRecord, InputError
from slan_jax.input.maker import Batch
from slan_jax.input.parts import PartRecord, PartSource, Question
from slan_jax.input.source import StoredPictures
from slan_jax.input.text import TextEncoder, load_encoder
from slan_jax.input.words import mirror_directions


class QuestionExample(NamedTuple):
  """One augmented picture with a question and its answers.

  Attributes:
    image: [S, S, 3] uint8 RGB.
    image_id: Stable number of the picture.
    question: The question, mirrored with the picture.
    answers: Share of the people behind each answer, the largest first.
  """

  image: np.ndarray
  image_id: int
  question: str
  answers: list[tuple[str, float]]


class QuestionMaker:
  """Makes rows of questions; see `maker.Maker`."""

  def __init__(
    self,
    directory: str | Path,
    config: InputConfig,
    *,
    answers: int,
    answer_length: int,
  ):
    """Opens the tokenizer.

    Args:
      directory: A prepared directory.
      config: What batches are made of; `caption` chooses the question.
      answers: A, answers of a question at most, the most frequent ones.
      answer_length: M, tokens of an answer with [CLS] and [SEP].

    Raises:
      InputError: The tokenizer cannot be used.
    """
    self._config, self._answers = config, answers
    self.encoder = load_encoder(config.tokenizer, config.max_length, directory)
    self.answer_encoder = self.encoder.with_length(answer_length)

  def open(self, directory: str | Path) -> PartSource:
    """Pictures and questions of the training split."""
    return PartSource(directory, self._config.split, ("questions", "answers"))

  def example(self, record: PartRecord, rng: random.Random) -> QuestionExample:
    """A picture with one of its questions that have answers.

    Raises:
      BadRecord: There is none, or the picture cannot be used.
    """
    config = self._config
    asked = [q for q in record.questions if q.text.strip() and q.answers]
    if not asked:
      raise BadRecord("no question with answers")
    drawn = int(rng.random() * len(asked))
    question = asked[drawn if config.caption == "random" else 0]
    picture = crop.decode_crop(
      record.record.image,
      record.record.size,
      config.image_size,
      config.crop_scale,
      rng,
      reduced=config.reduced_decode,
    )
    text, answers = question.text, _shares(question)[: self._answers]
    if config.flip and rng.random() < 0.5:
      picture, text = augment.flip(picture), mirror_directions(text)
      answers = [(mirror_directions(answer), w) for answer, w in answers]
    picture = augment.rand_augment(picture, *config.randaugment, rng)
    return QuestionExample(picture, record.record.image_id, text, answers)

  def batch(
    self, examples: Sequence[QuestionExample]
  ) -> tuple[Batch, list[tuple[int, str]]]:
    """The arrays of several rows.

    Returns:
      image uint8 [B, S, S, 3], image_id int32 [B], text int32 [B, N] and
      text_mask bool, answers int32 [B, A, M] and answers_mask bool,
      answer_weight float32 [B, A]: the share of the people, 0 = no answer.
      And (row, reason) of what had to be cut.
    """
    count, most = len(examples), self._answers
    questions = self.encoder([example.question for example in examples])
    places = [
      (row, slot, text, weight)
      for row, example in enumerate(examples)
      for slot, (text, weight) in enumerate(example.answers)
    ]
    encoded = self.answer_encoder([text for _, _, text, _ in places])
    shape = (count, most, self.answer_encoder.max_length)
    answers = np.full(shape, self.encoder.pad_id, np.int32)
    mask, weights = np.zeros(shape, bool), np.zeros(shape[:2], np.float32)
    rows, slots = [p[0] for p in places], [p[1] for p in places]
    answers[rows, slots], mask[rows, slots] = encoded.ids, encoded.mask
    weights[rows, slots] = [weight for *_, weight in places]
    cut = [(int(r), "truncated") for r in np.flatnonzero(questions.truncated)]
    cut += [
      (rows[place], "answer truncated")
      for place in np.flatnonzero(encoded.truncated)
    ]
    batch = {
      "image": np.stack([example.image for example in examples]),
      "image_id": np.array([e.image_id for e in examples], np.int32),
      "text": questions.ids,
      "text_mask": questions.mask,
      "answers": answers,
      "answers_mask": mask,
      "answer_weight": weights,
    }
    return batch, cut


def _shares(question: Question) -> list[tuple[str, float]]:
  total = sum(question.answers.values())
  ranked = sorted(question.answers.items(), key=lambda row: (-row[1], row[0]))
  return [(text, count / total) for text, count in ranked if count > 0]


@dataclasses.dataclass(frozen=True)
class QuestionSplit:
  """Questions in stored order.

  Attributes:
    questions: Id, text, kind and answers of each; {} where they are secret.
    images: The pictures, indexed by rows.
    image_ids: Name of each picture.
    question_image: [Q] int32, row of the picture of each question.
    tokens: [Q, N] int32, the questions encoded.
    mask: [Q, N] bool, True on real tokens.
    skipped: Records and questions left out, by reason.
    encoder: The tokenizer.
  """

  questions: list[Question]
  images: image.Pictures
  image_ids: list[str]
  question_image: np.ndarray
  tokens: np.ndarray
  mask: np.ndarray
  skipped: Counter[str]
  encoder: TextEncoder


def question_split(
  directory: str | Path,
  split: str,
  config: EvaluationConfig,
  *,
  limit: int | None = None,
) -> QuestionSplit:
  """Reads questions; those of a test split may have no answers.

  Args:
    directory: A prepared directory.
    split: Name of the split.
    config: Sizes.
    limit: Pictures at most, the first ones; None = every one.

  Returns:
    The questions; pictures of the same name are one. A picture that cannot be
    used is left out with its questions and counted.

  Raises:
    InputError: The data cannot be opened, or nothing is left.
  """
  source = PartSource(directory, split, ("questions", "answers"))
  encoder = load_encoder(config.tokenizer, config.max_length, directory)
  questions, rows, names, places = [], [], [], []
  skipped: Counter[str] = Counter()
  for number in range(min(limit or len(source), len(source))):
    try:
      record = source[number]
      image.decode(record.record.image)
      asked = [q for q in record.questions if q.text.strip()]
      skipped["empty question"] += len(record.questions) - len(asked)
      if not asked:
        raise BadRecord("no question")
    except BadRecord as error:
      skipped[str(error)] += 1
      continue
    rows += [len(names)] * len(asked)
    questions += asked
    names.append(record.id)
    places.append(number)
  if not questions:
    raise InputError(f"{directory}: split {split!r} has no usable question")
  tokens = encoder([question.text for question in questions])
  return QuestionSplit(
    questions=questions,
    images=image.Pictures(StoredPictures(source, places), config.image_size),
    image_ids=names,
    question_image=np.array(rows, np.int32),
    tokens=tokens.ids,
    mask=tokens.mask,
    skipped=+skipped,
    encoder=encoder,
  )
