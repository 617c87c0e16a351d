"""One model twice, in JAX and in PyTorch, with the same parameters."""

import json

import jax
import numpy as np
import torch

from slan_jax.interop import exported
from slan_jax.models.slan import Slan
from slan_jax.tasks import grounding, pretrain
from slan_torch import SLANModel
from slan_torch.config import read_config
from tests.models.small import LENGTH, VOCAB, small_config

TOKENS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
LEARNED = ("temperature", "phrase_scale")
ROWS = 3


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
  changes = {"model__text__layers": 2, "model__generator__layers": 2}
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


def torch_model(cfg, tree) -> SLANModel:
  """The twin in PyTorch."""
  model = SLANModel(read_config(values(cfg), "memory"))
  arrays = exported.to_tensors(tree, "float32")
  tensors = {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()}
  model.load_state_dict(tensors)
  return model.eval()


def inputs(cfg, rows: int = ROWS, seed: int = 1):
  """Random images with shapes in them, texts of several lengths."""
  rng = np.random.default_rng(seed)
  size = cfg.image_size
  images = rng.integers(0, 80, (rows, size, size, 3))
  for image in images:
    top, left = rng.integers(0, size // 2, 2)
    colour = rng.integers(0, 256, 3)
    image[top : top + size // 2, left : left + size // 3] = colour
  lengths = np.linspace(4, LENGTH, rows).astype(int)
  mask = np.arange(LENGTH) < lengths[:, None]
  ids = np.where(mask, rng.integers(5, VOCAB, mask.shape), 0)
  ids[:, 0] = TOKENS["cls"]
  ids[np.arange(rows), lengths - 1] = TOKENS["sep"]
  return images.astype(np.uint8), ids.astype(np.int32), mask


def run_jax(cfg, tree, images, ids, mask):
  """Every output of the JAX model."""
  model = Slan(cfg)

  def everything(tree, images, ids, mask):
    def call(*arguments, method):
      return model.apply({"params": tree["slan"]}, *arguments, method=method)

    image = call(images, method="encode_image")
    text = call(ids, mask, method="encode_text")
    located = call(image, text, method="locate")
    states = pretrain.caption_memory(image, located.regions)
    if text.phrases is None:
      ground = grounding._by_words(model, image, text, located)
    else:
      ground = grounding._by_phrases(call, image, text, located.boxes)
    found = {
      "image": image._asdict(),
      "text": text._asdict(),
      "located": located._asdict(),
      "itm": call(image, text, located, method="match"),
      "mlm": call(located.words, method="predict_words"),
      "caption": call(ids, mask, *states, method="generate"),
      "ground": ground,
    }
    if text.phrases is not None:
      found["maps"] = call(image, text, method="phrase_maps")
    return found

  return jax.jit(everything)(tree, images, ids, mask)


@torch.no_grad()
def run_torch(model, images, ids, mask):
  """The same of the PyTorch model."""
  images, ids, mask = (torch.from_numpy(x) for x in (images, ids, mask))
  ids = ids.long()
  image, text = model.encode_image(images), model.encode_text(ids, mask)
  located = model.locate(image, text)
  states = model.caption_states(image, located.regions)
  ground = model.ground(images, ids, mask)
  found = {
    "image": image._asdict(),
    "text": text._asdict(),
    "located": located._asdict(),
    "itm": model.match(image, text, located),
    "mlm": model.predict_words(located.words),
    "caption": model.generate(ids, mask, *states),
    "ground": {k: ground[k] for k in ("scores", "token_weight", "map")},
  }
  if text.phrases is not None:
    found["maps"] = model.phrase_maps(image, text)
  return found


def flat(tree) -> dict[str, np.ndarray]:
  """Name -> array of nested outputs."""
  leaves = jax.tree_util.tree_leaves_with_path(
    jax.tree.map(np.asarray, tree, is_leaf=lambda x: hasattr(x, "shape"))
  )
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def worst(ours: dict, theirs: dict) -> dict[str, float]:
  """Largest difference of each output, over the largest value of it."""
  assert set(ours) == set(theirs)
  differences = {}
  for name, mine in ours.items():
    other = theirs[name]
    assert mine.shape == other.shape, (name, mine.shape, other.shape)
    gap = np.abs(mine.astype(np.float64) - other.astype(np.float64)).max()
    differences[name] = float(gap / max(np.abs(mine).max(), 1e-6))
  return differences
