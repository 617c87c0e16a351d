"""A run that compiles in a moment: real data, a model of two matrices."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from configs import pretrain
from slan_jax.input.text import TextEncoder
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import to_dataclass
from slan_jax.tasks.decoding import Text
from slan_jax.tasks.pretrain import Batch, batch_spec
from slan_jax.tasks.task import Task

WIDTH = 8
STEPS = 6


PLAIN = {
  "total_steps": STEPS,
  "batch_size": 8,
  "text.hard_negatives": 1,
  "data.threads": 1,
  "data.prefetch": 1,
  "optimizer.warmup_steps": 1,
  "optimizer.learning_rate": 0.5,
  "log.every_steps": 2,
  "checkpoint.every_steps": 2,
  "evaluation.every_steps": 3,
  "evaluation.galleries": (4,),
  "evaluation.batch_size": 4,
  "evaluation.pair_batch_size": 8,
  "evaluation.top_k": 2,
  "evaluation.first_stage": "itc",
}


def get_config() -> ml_collections.ConfigDict:
  """The scenes' configuration for a few steps, as a file of --config."""
  config = pretrain.get_config("scenes").unlock()
  config.update_from_flattened_dict(PLAIN)
  return config.lock()


def light_experiment(data: Path, **changes: Any) -> Experiment:
  """The scenes' configuration for a few steps of the light task.

  Args:
    data: a prepared directory.
    **changes: values by key, "__" for a dot.
  """
  config = get_config().unlock()
  changes = {key.replace("__", "."): value for key, value in changes.items()}
  config.update_from_flattened_dict({"data.dir": str(data)} | changes)
  return to_dataclass(config.to_dict(), Experiment)


def light_task(experiment: Experiment, encoder: TextEncoder) -> Task:
  """Mean colour against mean word: takes the place of the real task."""
  shape = Batch(
    experiment.batch_size,
    experiment.text.max_length,
    experiment.text.hard_negatives,
    encoder.mask_id,
    1,
  )

  def init(key: jax.Array) -> tuple[Any, Any]:
    first, second = jax.random.split(key)
    size = (experiment.model.text.vocab_size, WIDTH)
    return {
      "image": {"kernel": jax.random.normal(first, (3, WIDTH))},
      "text": {"word": jax.random.normal(second, size)},
    }, {}

  def encode_image(params, image):
    places = tuple(range(1, image.ndim - 1))  # of pictures and of clips
    colour = jnp.mean(image.astype(jnp.float32), axis=places) / 255
    return colour @ params["image"]["kernel"]

  def encode_text(params, text, mask):
    return jnp.sum(params["text"]["word"][text] * mask[..., None], axis=1)

  def itc(params, images, texts):
    return images @ texts.T

  def itm(params, images, texts):
    return jnp.sum(images * texts, axis=-1)

  def ground(params, image, text, mask):
    rows, length = text.shape
    boxes = jnp.broadcast_to(
      jnp.float32([[0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]]),
      (rows, 2, 2, 4),
    )
    words = params["text"]["word"][text][..., 0]
    scores = (
      words[:, None, None] * jnp.float32([1.0, -1.0])[None, None, :, None]
    )
    return {
      "boxes": boxes,
      "region_mask": jnp.ones((rows, 2), bool),
      "scores": jnp.broadcast_to(scores, (rows, 2, 2, length)),
      "token_weight": mask.astype(jnp.float32),
      "map": jnp.broadcast_to(words[:, None, None], (rows, 4, 4, length)),
    }

  def caption(params, image, rows):
    total = jnp.sum(image.astype(jnp.int32), axis=(1, 2))
    words = 5 + total % (experiment.model.text.vocab_size - 5)
    return Text(words, jnp.zeros(len(image)))

  def rank(params, images, text, mask, answers, answers_mask):
    asked = images + encode_text(params, text, mask)
    scores = asked @ encode_text(params, answers, answers_mask).T
    order = jnp.argsort(-scores, axis=1)
    return order, jnp.take_along_axis(scores, order, axis=1)

  def decide(params, image, text, mask):
    left, right = (encode_image(params, image[:, side]) for side in (0, 1))
    return itm(params, left - right, encode_text(params, text, mask))

  def detect(params, images, text, class_tokens):
    x, y = jnp.meshgrid(jnp.arange(5.0) / 6, jnp.arange(5.0) / 6)
    corner = jnp.stack([x.ravel(), y.ravel()], axis=1)
    boxes = jnp.concatenate([corner, corner + 1 / 3], axis=1)
    place = jnp.sum(jnp.sin(7.0 * corner), axis=1)[None, :, None]
    kind = class_tokens @ jnp.cos(
      jnp.arange(class_tokens.shape[1]) + text[0, 0]
    )
    look = images[:, :1, None] * kind[None, None] + place
    return {
      "boxes": jnp.broadcast_to(boxes, (len(images), *boxes.shape)),
      "scores": jax.nn.sigmoid(look),
    }

  def loss(params, ema, carry, batch, *, key, step, stage):
    images = encode_image(params, batch["image"])
    texts = encode_text(params, batch["text"], batch["text_mask"])
    value = jnp.mean(jnp.square(images - texts))
    return value, ({"itc": (value, jnp.ones(()))}, {})

  return Task(
    "light",
    batch_spec(experiment.model, shape),
    init,
    loss,
    {
      "encode_image": encode_image,
      "encode_text": encode_text,
      "itc": itc,
      "itm": itm,
      "ground": ground,
      "caption": caption,
      "rank": rank,
      "decide": decide,
      "detect": detect,
    },
    (),
  )


def replace(experiment: Experiment, **changes: Any) -> Experiment:
  """The experiment with other values at the top level."""
  return dataclasses.replace(experiment, **changes)
