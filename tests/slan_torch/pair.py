"""One model twice, in JAX and in PyTorch, with the same parameters."""

import json

import jax
import numpy as np
import torch

from slan_jax.interop import exported, verify
from slan_jax.models.slan import Slan
from slan_torch import SLANModel
from slan_torch.config import read_config
from tests.models.small import LENGTH, small_config

TOKENS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
LEARNED = ("temperature", "phrase_scale")


def values(cfg, learned=LEARNED, **changes):
  """config.json of a model, as a file would give it."""
  made = exported.config_values(
    cfg,
    max_length=LENGTH,
    token_ids=TOKENS,
    captions=True,
    learned=learned,
    dtype="float32",
  )
  return json.loads(json.dumps(made | changes))


def config(argument: str = "scenes", **overrides):
  """The small model; every number in it different from its neighbours'."""
  changes = {
    "model__text__layers": 2,
    "model__generator__layers": 2,
    "model__word_map__affinity_window": 3,
  }
  return small_config(argument, **(changes | overrides))[0]


def params(cfg, seed: int = 0):
  """Parameters away from their start: biases and norms count too."""
  rng = np.random.default_rng(seed)

  def fill(path, leaf):
    noise = rng.normal(size=leaf.shape).astype("float32")
    name = path[-1].key
    if name == "kernel":
      inputs = np.prod(leaf.shape[-4:-1]) if leaf.ndim > 3 else leaf.shape[-2]
      return noise / np.float32(inputs**0.5)
    if name in ("word", "position", "token_type", "query"):
      return noise
    start = 1 if name in ("scale", "var", "temperature", "phrase_scale") else 0
    return np.float32(start + np.abs(noise) / 8 if start else noise / 8)

  template = exported.params_template(cfg, LEARNED)
  return jax.tree_util.tree_map_with_path(fill, template)


def torch_model(cfg, tree, **changes) -> SLANModel:
  """The twin in PyTorch; `changes` of its config.json."""
  model = SLANModel(read_config(values(cfg, **changes), "memory"))
  arrays = exported.to_tensors(tree, "float32")
  tensors = {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()}
  model.load_state_dict(tensors)
  return model.eval()


def inputs(cfg):
  """Random images with patches in them, texts of several lengths."""
  return verify.sample_inputs(cfg, LENGTH, TOKENS, rows=3)


def run_jax(cfg, tree):
  """Every output of the JAX model, for `inputs`."""
  return verify.outputs_of_jax(Slan(cfg), tree, *inputs(cfg))


def run_torch(model):
  """The same of the PyTorch model."""
  return verify.outputs_of_torch(model, *inputs(model.cfg))
