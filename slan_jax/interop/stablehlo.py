"""Programs for other runtimes: StableHLO with the weights inside.

The batch is symbolic: one program serves all sizes, on CPU, CUDA and TPU. Read
again with `read`, or by any runtime of StableHLO from `mlir_module()`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from slan_jax.models import config
from slan_jax.models.slan import Slan

SUFFIX = ".stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def write(
  directory: Path, model: config.Slan, params: Any, max_length: int
) -> None:
  """Writes image_tower, text_tower and pair_scorer.

  Args:
    directory: exists.
    model: shapes.
    params: {"slan": ...}.
    max_length: N, tokens of every text.
  """
  (batch,) = export.symbolic_shape("b")
  size = model.image_size
  image = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
  words = (
    jax.ShapeDtypeStruct((batch, max_length), jnp.int32),
    jax.ShapeDtypeStruct((batch, max_length), bool),
  )
  inputs = {
    "image_tower": (image,),
    "text_tower": words,
    "pair_scorer": (image, *words),
  }
  for name, program in _programs(model, params).items():
    made = export.export(jax.jit(program), platforms=PLATFORMS)(*inputs[name])
    (Path(directory) / (name + SUFFIX)).write_bytes(made.serialize())


def _programs(
  model: config.Slan, params: Any
) -> dict[str, Callable[..., jax.Array]]:
  """Unit embeddings [B, E] of images uint8 [B, S, S, 3] and of texts int32
  [B, N] with their mask bool [B, N]; log odds [B] that pairs match."""
  variables = {"params": jax.tree.map(jnp.asarray, params["slan"])}

  def call(*arguments, method):
    return Slan(model).apply(variables, *arguments, method=method)

  def image_tower(image):
    return call(image, method="encode_image").embedding

  def text_tower(text, mask):
    return call(text, mask, method="encode_text").embedding

  def pair_scorer(image, text, mask):
    image = call(image, method="encode_image")
    text = call(text, mask, method="encode_text")
    located = call(image, text, method="locate")
    logits = call(image, text, located, method="match")
    return logits[:, 1] - logits[:, 0]

  return {
    "image_tower": image_tower,
    "text_tower": text_tower,
    "pair_scorer": pair_scorer,
  }


def read(path: Path) -> Callable[..., jax.Array]:
  """The program of a file, to be called with arrays."""
  return export.deserialize(bytearray(Path(path).read_bytes())).call
