"""Captioning (section 4.2.2): the text decoder describes what regions show.

The locator needs a text and a caption is not there yet: it gets the prompt. The
decoder looks at V's cells and at E_L^G. Axes: B images, N tokens.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch
from slan_jax.models import config
from slan_jax.models.memory import caption_memory
from slan_jax.models.slan import ImageState, Slan
from slan_jax.objective import language
from slan_jax.tasks import decoding
from slan_jax.tasks.config import Batch, Captioning, Marks, Objective
from slan_jax.tasks.fused import region_term
from slan_jax.tasks.microbatch import microbatched
from slan_jax.tasks.parameters import init_model
from slan_jax.tasks.task import Metrics, Task


def make_task(
  cfg: config.Slan,
  objective: Objective,
  options: Captioning,
  batch: Batch,
  marks: Marks,
  prompt: tuple[int, ...],
) -> Task:
  """Fine-tuned captioning: L_ds is the causal language loss, beside L_reg.

  Args:
    cfg: the model.
    objective: gives the weight and switches of L_reg.
    options: prompt, smoothing and search.
    batch: the global batch; its texts begin with the prompt.
    marks: ids of the special tokens.
    prompt: its token ids, without [CLS] and [SEP].

  Returns:
    A `Task` that predicts `caption`.
  """
  model = Slan(cfg)
  return Task(
    name="captioning",
    batch_spec=batch_spec(cfg, batch),
    init=lambda key: (init_model(model, batch.max_length, key), {}),
    loss=functools.partial(_loss, model, objective, options, batch, prompt,
                           marks),
    predict=predictions(model, options, marks, prompt),
    stages=(),
  )  # fmt: skip


def batch_spec(
  cfg: config.Slan, batch: Batch
) -> dict[str, jax.ShapeDtypeStruct]:
  """Names, shapes and types of one global batch."""
  b, n, s = batch.size, batch.max_length, cfg.image_size
  spec = jax.ShapeDtypeStruct
  return {
    "image": spec((b, s, s, 3), jnp.uint8),
    "text": spec((b, n), jnp.int32),
    "text_mask": spec((b, n), bool),
  }


def predictions(
  model: Slan, options: Captioning, marks: Marks, prompt: tuple[int, ...]
) -> dict[str, Callable]:
  """`caption`: (params, image, rows) -> `decoding.Text`."""
  made = functools.partial(_caption, model, options, marks, prompt)
  return {"caption": made}


def locate_prompt(
  call: Callable, image: ImageState, marks: Marks, prompt: tuple[int, ...]
):
  """Regions for the prompt, and what the decoder looks at."""
  row = jnp.array([marks.cls, *prompt, marks.sep], jnp.int32)
  ids = jnp.broadcast_to(row[None], (image.v.shape[0], row.size))
  text = call(ids, jnp.ones(ids.shape, bool), method="encode_text")
  located = call(image, text, method="locate")
  return located, caption_memory(image, located.regions)


def _loss(
  model: Slan,
  objective: Objective,
  options: Captioning,
  shape: Batch,
  prompt: tuple[int, ...],
  marks: Marks,
  params: dict[str, Any],
  ema: dict[str, Any],
  carry: Any,
  batch: dict[str, jax.Array],
  *,
  key: jax.Array,
  step: jax.Array,
  stage: int,
) -> tuple[jax.Array, tuple[Metrics, Any]]:
  """Cross entropy of the words behind the prompt; see `Task.loss`."""
  del ema, key, step, stage
  batch = constrain_batch(batch)
  call = functools.partial(model.apply, {"params": params["slan"]})

  def rows(pixels: jax.Array, ids: jax.Array, mask: jax.Array):
    image = call(pixels, method="encode_image")
    located, memory = locate_prompt(call, image, marks, prompt)
    logits = call(ids, mask, *memory, method="generate")
    losses = language.token_losses(
      logits[:, :-1], ids[:, 1:], label_smoothing=options.smoothing
    )
    right = jnp.argmax(logits[:, :-1], axis=-1) == ids[:, 1:]
    return losses, right, image.regions, located

  losses, right, regions, located = microbatched(rows, shape.microbatches)(
    batch["image"], batch["text"], batch["text_mask"]
  )
  counted = batch["text_mask"][:, 1:].astype(jnp.float32)
  written = jnp.arange(1, batch["text"].shape[1]) > len(prompt)
  counted *= written.astype(jnp.float32)[None]
  count = jnp.sum(counted)
  metrics = {
    "lm": (jnp.sum(losses * counted), count),
    "token_accuracy": (jnp.sum(right * counted), count),
  }
  total = metrics["lm"][0] / jnp.maximum(count, 1.0)
  if objective.reg:
    metrics["reg"] = region_term(objective, regions, located)
    total += objective.reg * metrics["reg"][0] / metrics["reg"][1]
  return total, (metrics, carry)


def _caption(
  model: Slan,
  options: Captioning,
  marks: Marks,
  prompt: tuple[int, ...],
  params: dict[str, Any],
  image: jax.Array,
  rows: jax.Array,
) -> decoding.Text:
  """Captions of images [B, S, S, 3]; their `rows` are for nucleus only."""
  call = functools.partial(model.apply, {"params": params["slan"]})
  states = call(image, method="encode_image")
  _, memory = locate_prompt(call, states, marks, prompt)
  row = jnp.array([marks.cls, *prompt], jnp.int32)
  return decoding.write(
    model,
    params["slan"],
    jnp.broadcast_to(row[None], (image.shape[0], row.size)),
    *memory,
    marks=marks,
    options=options.write,
    keys=decoding.row_keys(rows),
  )
