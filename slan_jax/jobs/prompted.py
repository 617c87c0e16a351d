"""Detection by prompt on a user's own pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from slan_jax.evaluation import evaluator
from slan_jax.input.prompt import Prompts, Style, make_prompts
from slan_jax.input.text import TextEncoder
from slan_jax.interop.export import Trained
from slan_jax.jobs.model_directory import trained_settings
from slan_jax.jobs.predictor import Predictor
from slan_jax.tasks import detection
from slan_jax.tasks.config import Detection, Localisation


def write_prompts(trained: Trained, labels: Sequence[str]) -> Prompts:
  """Class names as prompts of the model's own style.

  Raises:
    InputError: no label, an empty or repeated one, or one too long.
  """
  options = trained_settings(trained, "detection", Detection)
  length = min(options.max_length, trained.model.text.max_positions)
  encoder = TextEncoder(Tokenizer.from_str(trained.tokenizer), length)
  style = Style(options.opening, options.separator, options.prompt_classes)
  return make_prompts(labels, encoder, style)


def detect(
  predictor: Predictor, path: Path, prompts: Prompts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Regions of one picture for every class.

  Args:
    predictor: of the model.
    path: of the picture.
    prompts: of `write_prompts`.

  Returns:
    boxes [n, 4] xyxy in [0, 1], score [n] in [0, 1] and class [n], the best
    first; what overlaps a better region of its class is left out.
  """
  trained = predictor.trained
  predict = _detector(trained, prompts)
  run = {name: evaluator.jitted(function) for name, function in predict.items()}
  params = predictor.params
  image = run["encode_image"](params, predictor.pictures([path]))
  boxes, scores, classes = [], [], []
  for row, place in enumerate(prompts.classes):
    one = slice(row, row + 1)
    text = run["encode_text"](params, prompts.ids[one], prompts.mask[one])
    found = run["detect"](params, image, text, prompts.class_tokens[row])
    score = np.asarray(found["scores"])[0]  # [R, C]
    region, column = np.nonzero((score >= 0) & (place >= 0)[None])
    boxes.append(np.asarray(found["boxes"])[0][region])
    scores.append(score[region, column])
    classes.append(place[column])
  score = np.concatenate(scores)
  order = np.argsort(-score, kind="stable")
  return (
    np.concatenate(boxes)[order],
    score[order],
    np.concatenate(classes)[order],
  )


def _detector(trained: Trained, prompts: Prompts) -> dict[str, Any]:
  """Predict functions of the model with the regions that detection asks for."""
  options = trained_settings(trained, "localisation", Localisation)
  task = detection.make_task(
    trained.model,
    options,
    detection.Prompts(
      prompts.ids, prompts.mask, prompts.class_tokens, prompts.classes
    ),
    batch_size=1,
    microbatches=1,
    boxes=1,
    nms=trained_settings(trained, "detection", Detection).nms,
  )
  return task.predict
