"""Captions and answers, written for a user's own pictures, by PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slan_jax.interop.twin import make_twin, to_torch
from slan_jax.jobs.predictor import Predictor, Words


def captions(
  predictor: Predictor, paths: Sequence[Path], *, beams: int, longest: int
) -> list[str]:
  """A caption of each picture.

  A model that was fine-tuned on captions begins with its prompt.

  Args:
    predictor: of the model.
    paths: of the pictures.
    beams: 1 = greedy.
    longest: tokens at most, the prompt not counted.

  Raises:
    ValueError: torch is not installed.
  """
  trained, encoder = predictor.trained, predictor.encoder
  prompt: list[int] = []
  if trained.training.get("task") == "captioning":
    ids, mask, _ = encoder([trained.training["captioning"]["prompt"]])
    prompt = ids[0][mask[0]][1:-1].tolist()
  twin = _twin(predictor)
  rows = twin.caption(
    to_torch(predictor.pictures(paths)),
    prompt=prompt,
    beams=beams,
    longest=longest,
  )
  return [encoder.decode([*prompt, *row]) for row in rows.tolist()]


def answers(
  predictor: Predictor, path: Path, words: Words, *, beams: int, longest: int
) -> list[str]:
  """The answer to each question about one picture.

  Args:
    predictor: of the model.
    path: of the picture.
    words: the questions.
    beams: 1 = greedy.
    longest: tokens at most.

  Raises:
    ValueError: torch is not installed.
  """
  twin = _twin(predictor)
  pictures = predictor.pictures([path] * len(words.tokens))
  rows = twin.answer(
    *map(to_torch, (pictures, words.tokens, words.mask)),
    beams=beams,
    longest=longest,
  )
  return [predictor.encoder.decode(row) for row in rows.tolist()]


def _twin(predictor: Predictor) -> Any:
  trained = predictor.trained
  try:
    return make_twin(trained.model, trained.params, trained.token_ids)
  except ImportError as error:
    raise ValueError(
      "texts are written with PyTorch: pip install slan_jax[torch]"
    ) from error
