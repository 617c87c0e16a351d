"""Captions and answers, written for a user's own pictures."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.evaluation import writing
from slan_jax.input.files import PictureFiles
from slan_jax.interop.export import Trained
from slan_jax.jobs.model_directory import trained_settings
from slan_jax.jobs.predictor import Predictor, Words
from slan_jax.models import config
from slan_jax.models.slan import Slan
from slan_jax.tasks import captioning, vqa
from slan_jax.tasks.config import READ_BY, Captioning, Marks, Vqa, Writing


def captions(
  predictor: Predictor, paths: Sequence[Path], given: dict[str, Any]
) -> list[str]:
  """A caption of each picture.

  A model that was fine-tuned on captions begins with its prompt.

  Args:
    predictor: of the model.
    paths: of the pictures.
    given: fields of `Writing` in place of the run's own.

  Raises:
    ValueError: fields that do not fit together.
  """
  trained, encoder = predictor.trained, predictor.encoder
  options = _recipe(trained, "captioning", Captioning, given)
  files = PictureFiles(paths, trained.model.image_size)
  rows, _ = writing.write_captions(
    _captioner(trained.model, options, _marks(trained), trained.prompt),
    predictor.params,
    files,
    len(paths),
    predictor.batching(len(paths)),
  )
  return [encoder.decode([*trained.prompt, *row]) for row in rows.tolist()]


def answers(
  predictor: Predictor, path: Path, words: Words, given: dict[str, Any]
) -> list[str]:
  """The answer to each question about one picture, in any words.

  Args:
    predictor: of the model.
    path: of the picture.
    words: the questions.
    given: fields of `Writing` in place of the run's own.

  Raises:
    ValueError: fields that do not fit together.
  """
  trained, count = predictor.trained, len(words.tokens)
  options = _recipe(trained, "vqa", Vqa, given)
  about = np.zeros(count, int)
  rows = writing.answer_questions(
    _answerer(trained.model, options, _marks(trained)),
    predictor.params,
    predictor.pictures([path]),
    writing.Questions(words.tokens, words.mask, about),
    None,
    predictor.batching(count),
  )
  return [predictor.encoder.decode(row) for row in rows.tolist()]


def _recipe(
  trained: Trained, section: str, kind: type, given: dict[str, Any]
) -> Any:
  """A section of the run's configuration, `write` with what the user gave."""
  options = trained_settings(trained, section, kind)
  write: Writing = dataclasses.replace(options.write, **given)
  for name, search in READ_BY.items():
    if name in given and write.search != search:
      raise ValueError(
        f"{name}={given[name]} belongs to search={search}, and this model "
        f"writes by search={write.search}; give search={search} as well"
      )
  return dataclasses.replace(options, write=write)


def _marks(trained: Trained) -> Marks:
  return Marks(**trained.token_ids)


# Kept, so that what one question compiles serves the next.
@functools.lru_cache(maxsize=8)
def _captioner(
  model: config.Slan, options: Captioning, marks: Marks, prompt: tuple[int, ...]
) -> dict[str, Callable]:
  return captioning.predictions(Slan(model), options, marks, prompt)


@functools.lru_cache(maxsize=8)
def _answerer(
  model: config.Slan, options: Vqa, marks: Marks
) -> dict[str, Callable]:
  return vqa.predictions(Slan(model), options, marks)
