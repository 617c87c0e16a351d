"""A batch as the two encoders see it (section 3.1)."""

import functools
from typing import Any

import jax

from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.tasks.microbatch import microbatched


class Encoded:
  """Both encoders' view of a batch; a namespace, not a pytree.

  Attributes:
    image, text: states of the batch's images and captions.
    call: applies a method of the model.
    recompute: fused pairs are to be computed again in the backward pass.
    encode_text: (ids, mask) -> `TextState`, in microbatches.
  """

  def __init__(self, model: Slan, params: Any, batch: dict, parts: int):
    self.vocab_size = model.cfg.text.vocab_size
    self.recompute = model.cfg.remat != "none"
    self.call = functools.partial(model.apply, {"params": params})
    encode_image = functools.partial(self.call, method="encode_image")
    encode_text = functools.partial(self.call, method="encode_text")
    self.image: ImageState = microbatched(encode_image, parts)(batch["image"])
    self.encode_text = microbatched(encode_text, parts)
    self.text: TextState = self.encode_text(batch["text"], batch["text_mask"])


def embeddings(
  model: Slan, params: Any, batch: dict, parts: int
) -> tuple[jax.Array, jax.Array]:
  """Unit vectors [B, E] of a batch's images and captions, and nothing else."""
  call = functools.partial(model.apply, {"params": params})
  image = functools.partial(call, method="embed_image")
  text = functools.partial(call, method="embed_text")
  return (
    microbatched(image, parts)(batch["image"]),
    microbatched(text, parts)(batch["text"], batch["text_mask"]),
  )
