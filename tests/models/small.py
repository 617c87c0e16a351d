"""A model small enough to compile in seconds, of either preset."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np

from configs import pretrain as configs
from slan_jax.models import config
from slan_jax.tasks import pretrain

VOCAB, LENGTH = 40, 8
FUNCTION_IDS = (0, 1, 2, 3, 4, 5)

SMALL = {
  "model.width": 16,
  "model.image_size": 32,
  "model.text.layers": 1,
  "model.text.heads": 2,
  "model.text.mlp_width": 16,
  "model.text.vocab_size": VOCAB,
  "model.text.function_ids": FUNCTION_IDS,
  "model.generator.heads": 2,
  "model.generator.mlp_width": 16,
  "model.detector.width": 16,
  "model.detector.heads": 2,
  "model.detector.mlp_width": 16,
  "model.detector.encoder_layers": 1,
  "model.detector.decoder_layers": 1,
  "model.detector.queries": 4,
  "model.filter.top": 3,
  "model.adaptor.heads": 2,
  "model.adaptor.roi_size": 2,
  "model.adaptor.grid": 3,
  "model.word_map.width": 8,
  "model.word_map.phrases": 2,
  "model.heads.embed_dim": 8,
}


def build(kind: type, values: dict):
  """A frozen dataclass from nested dicts."""
  types = typing.get_type_hints(kind)
  assert set(types) == set(values)
  fields = {}
  for name, value in values.items():
    if dataclasses.is_dataclass(types[name]):
      value = build(types[name], value)
    fields[name] = tuple(value) if isinstance(value, list) else value
  return kind(**fields)


def small_config(argument: str = "scenes", **overrides):
  """Model and objective of a name in `configs/pretrain.py`, made small."""
  values = configs.get_config(argument)
  with values.unlocked(), values.ignore_type():
    values.update_from_flattened_dict(SMALL)
    values.update_from_flattened_dict(
      {name.replace("__", "."): value for name, value in overrides.items()}
    )
  plain = values.to_dict()
  return (
    build(config.Slan, plain["model"]),
    build(pretrain.Objective, plain["objective"]),
  )


def small_task(argument: str = "scenes", *, size=4, parts=1, **overrides):
  """The pre-training task of `small_config`."""
  cfg, objective = small_config(argument, **overrides)
  swaps = 2 if objective.swapped_words or objective.phrase else 0
  batch = pretrain.Batch(size, LENGTH, swaps, mask_id=4, microbatches=parts)
  return pretrain.make_task(cfg, objective, batch, total_steps=10)


def small_batch(task, seed: int = 0) -> dict[str, np.ndarray]:
  """Random images and texts of the task's batch."""
  rng = np.random.default_rng(seed)
  batch = {}
  for name, spec in task.batch_spec.items():
    if spec.dtype == jnp.uint8:
      value = rng.integers(0, 256, spec.shape)
    elif spec.dtype == bool:
      lengths = rng.integers(4, LENGTH, spec.shape[:-1])
      value = np.arange(LENGTH) < lengths[..., None]
    elif len(spec.shape) == 1:
      value = np.arange(spec.shape[0])
    else:
      value = rng.integers(6, VOCAB, spec.shape)
    batch[name] = value.astype(spec.dtype)
  return batch


def random_params(task, seed: int = 0):
  """Parameters of a task drawn without compiling its initialisation."""
  rng = np.random.default_rng(seed)
  shapes, _ = jax.eval_shape(task.init, jax.random.key(0))

  def draw(path, leaf):
    mean = 1.0 if jax.tree_util.keystr(path).endswith("['scale']") else 0.0
    return jnp.float32(rng.normal(mean, 0.2, leaf.shape))

  return jax.tree_util.tree_map_with_path(draw, shapes)
