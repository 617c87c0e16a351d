"""What the model's parts hold and compute, without computing anything."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.models import config
from slan_jax.models.memory import caption_memory
from slan_jax.models.slan import Slan
from slan_jax.tasks.config import Batch, Objective
from slan_jax.tasks.pretrain import make_task

# Submodule, or method, of the model -> the part it belongs to.
PARTS = {
  "backbone": "encoder",
  "text": "bert",
  "generator": "text_decoder",
  "language_head": "language_head",
  "pyramid": "pyramid",
  "detector": "detector",
  "Slan._filter": "filter",
  "query_projection": "filter",
  "locator": "adaptor",
  "word_map": "word_map",
  "phrases": "word_map",
  "Slan.phrase_maps": "word_map",
  "image_projection": "heads",
  "text_projection": "heads",
  "matching": "heads",
  "evidence": "heads",
}
REST = "heads"


def parameters_by_part(
  cfg: config.Slan, objective: Objective, max_length: int
) -> dict[str, int]:
  """Numbers that pre-training learns in each part; no EMA copy is among them.

  Args:
    cfg: the model; the vocabulary is known.
    objective: the losses, which have learned temperatures.
    max_length: tokens of a text.

  Returns:
    Part -> parameters, those of the losses among the heads'.
  """
  batch = Batch(1, max_length, hard_negatives=1, mask_id=0, microbatches=1)
  task = make_task(cfg, objective, batch, total_steps=1)
  shapes, _ = jax.eval_shape(task.init, jax.random.key(0))
  total = dict.fromkeys(PARTS.values(), 0)
  for name, tree in shapes["slan"].items():
    total[PARTS[name]] += _size(tree)
  total[REST] += _size(shapes["objective"])
  return {part: count for part, count in total.items() if count}


def _size(tree: Any) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def trace_pair(cfg: config.Slan, image_size: int, max_length: int) -> Any:
  """The program that all parts run forward for one image and its caption.

  Both encoders, self-localisation and ITM; then the language head predicts
  the caption's words, and the text decoder writes the caption (section 3).

  Args:
    cfg: the model; the vocabulary is known.
    image_size: pixels, square.
    max_length: tokens of the text.

  Returns:
    Its jaxpr, in whose scopes the modules are named.

  Raises:
    ValueError: the vision encoder cannot cut such an image into patches.
  """
  cfg = dataclasses.replace(cfg, image_size=image_size, remat="none")
  spec = jax.ShapeDtypeStruct
  inputs = (
    spec((1, image_size, image_size, 3), jnp.uint8),
    spec((1, max_length), jnp.int32),
    spec((1, max_length), bool),
  )
  variables = jax.eval_shape(Slan(cfg).init, jax.random.key(0), *inputs)

  def run(model: Slan, pixels: jax.Array, ids: jax.Array, mask: jax.Array):
    image, text = model.encode_image(pixels), model.encode_text(ids, mask)
    located = model.locate(image, text)
    return (
      model.match(image, text, located),
      model.predict_words(located.words),
      model.generate(ids, mask, *caption_memory(image, located.regions)),
    )

  def forward(variables: Any, *inputs: jax.Array):
    return Slan(cfg).apply(variables, *inputs, method=run)

  return jax.make_jaxpr(forward)(variables, *inputs)
