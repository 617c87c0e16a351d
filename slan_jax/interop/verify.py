"""The JAX model beside its twin in PyTorch: every output of both, compared."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from slan_jax.models.memory import caption_memory
from slan_jax.models.slan import Slan

Outputs = dict[str, np.ndarray]


def outputs_of_jax(
  model: Slan, params: Any, images: Any, ids: Any, mask: Any
) -> Outputs:
  """Every output of aligned images and texts.

  Args:
    model: computes in float32, as its twin does.
    params: {"slan": ...}.
    images: uint8 [B, S, S, 3].
    ids: int [B, N].
    mask: bool [B, N].

  Returns:
    name -> array; the names are those of `outputs_of_torch`.
  """

  def everything(params, images, ids, mask):
    def call(*arguments, method):
      return model.apply({"params": params}, *arguments, method=method)

    return _outputs(call, caption_memory, images, ids, mask)

  found = jax.jit(everything)(params["slan"], images, ids, mask)
  return jax.tree.map(np.asarray, found)


def outputs_of_torch(model: Any, images: Any, ids: Any, mask: Any) -> Outputs:
  """The same of a `slan_torch.SLANModel`."""
  import torch

  def call(*arguments, method):
    return getattr(model, method)(*arguments)

  inputs = (torch.tensor(np.asarray(x)) for x in (images, ids, mask))
  with torch.no_grad():
    found = _outputs(call, model.caption_states, *inputs)
  return {name: value.numpy() for name, value in found.items()}


def _outputs(call: Callable, memory: Callable, images, ids, mask) -> dict:
  image = call(images, method="encode_image")
  text = call(ids, mask, method="encode_text")
  located = call(image, text, method="locate")
  kept = image.regions["mask"][..., None]
  # What fills a masked slot is no output: equal saliencies may fall in another
  # order there.
  found = {
    "image_embedding": image.embedding,
    "text_embedding": text.embedding,
    "proposals": image.proposals["boxes"],
    "saliency": image.proposals["saliency_logit"],
    "kept_mask": image.regions["mask"],
    "kept_boxes": image.regions["boxes"] * kept,
    "kept_embeddings": image.regions["embeddings"] * kept,
    "global_map": image.v,
    **{f"pyramid_{i + 1}": level for i, level in enumerate(image.pyramid)},
    "boxes": located.boxes * kept[:, None],
    "mean_boxes": located.mean_boxes * kept,
    "confirmed": located.confirmed,
    "regions": located.regions * kept,
    "words": located.words * text.mask[..., None],
    "itm_logits": call(image, text, located, method="match"),
    "word_logits": call(located.words, method="predict_words"),
    "caption_logits": call(
      ids, mask, *memory(image, located.regions), method="generate"
    ),
  }
  if text.phrases is not None:
    maps = call(image, text, method="phrase_maps")
    there = text.phrases["mask"][:, None, None]
    found |= {
      "phrase_vectors": text.phrases["vectors"],
      "phrase_mask": text.phrases["mask"],
      "phrase_maps": maps.cosine * there,
      "phrase_peaks": maps.peak * there,
      "phrase_extents": maps.extent * there,
    }
  return found


def differences(ours: Outputs, theirs: Outputs) -> dict[str, float]:
  """Largest difference of each output, over the largest value of it.

  Raises:
    ValueError: other names or shapes.
  """
  shapes = [{k: v.shape for k, v in found.items()} for found in (ours, theirs)]
  if shapes[0] != shapes[1]:
    odd = set(shapes[0].items()) ^ set(shapes[1].items())
    raise ValueError(f"the two models have other outputs: {sorted(odd)}")
  found = {}
  for name, mine in ours.items():
    mine, other = (x.astype(np.float64) for x in (mine, theirs[name]))
    found[name] = float(
      np.abs(mine - other).max() / max(np.abs(mine).max(), 1e-9)
    )
  return found


def sample_inputs(
  model: Any, max_length: int, token_ids: dict[str, int], rows: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Random images with a patch in them, and texts of several lengths.

  Args:
    model: shapes, `slan_jax.models.config.Slan`.
    max_length: N.
    token_ids: of pad, cls and sep.
    rows: B.

  Returns:
    uint8 [B, S, S, 3], int32 [B, N] and bool [B, N].
  """
  rng, size = np.random.default_rng(0), model.image_size
  images = rng.integers(0, 80, (rows, size, size, 3))
  for image in images:
    top, left = rng.integers(0, size // 2, 2)
    colour = rng.integers(0, 256, 3)
    image[top : top + size // 2, left : left + size // 3] = colour
  lengths = np.linspace(max(max_length // 2, 3), max_length, rows).astype(int)
  mask = np.arange(max_length) < lengths[:, None]
  start = 1 + max(token_ids.values())
  words = rng.integers(start, model.text.vocab_size, mask.shape)
  ids = np.where(mask, words, token_ids["pad"])
  ids[:, 0] = token_ids["cls"]
  ids[np.arange(rows), lengths - 1] = token_ids["sep"]
  return images.astype(np.uint8), ids.astype(np.int32), mask
