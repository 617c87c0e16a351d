"""Object detection by prompt (section 4.2.6): "detect: person, bicycle, ...".

Axes: B images, R regions, K prompts, C classes of a prompt, N tokens, O boxes.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.axes import constrain_batch
from slan_jax.models import config
from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.models.word_map import content_tokens, phrase_heads
from slan_jax.ops import boxes as box_ops
from slan_jax.ops.suppress import suppress
from slan_jax.tasks import localisation, retrieval
from slan_jax.tasks.config import Localisation
from slan_jax.tasks.microbatch import check_parts, microbatched
from slan_jax.tasks.parameters import init_model
from slan_jax.tasks.task import Metrics, Task


class Prompts(NamedTuple):
  """The class list as texts; every class stands in one of them.

  Attributes:
    ids: int32 [K, N]. mask: bool [K, N], real tokens.
    class_tokens: bool [K, C, N], tokens of each class.
    classes: int32 [K, C], its number; -1 = no class in this place.
  """

  ids: np.ndarray
  mask: np.ndarray
  class_tokens: np.ndarray
  classes: np.ndarray


def make_task(
  cfg: config.Slan,
  options: Localisation,
  prompts: Prompts,
  *,
  batch_size: int,
  microbatches: int,
  boxes: int,
  nms: float,
) -> Task:
  """Fine-tuning on boxes of classes, and detection with or without it.

  A step asks one prompt, drawn anew, of the whole batch; boxes of classes that
  it does not name are nothing to it.

  Args:
    cfg: the model.
    options: regions, scores and losses.
    prompts: the classes.
    batch_size: images of a global batch.
    microbatches: parts that the model sees it in.
    boxes: O, boxes of an image at most.
    nms: IoU above which a region of the same class is suppressed; 0 = never.

  Returns:
    A `Task` that predicts encode_image, encode_text and detect.

  Raises:
    ValueError: microbatches that do not divide the batch.
  """
  check_parts(batch_size, microbatches)
  cfg = localisation.with_regions(cfg, options)
  if cfg.word_map.enabled:
    cfg = _with_phrases(cfg, prompts)
  model = Slan(cfg)
  side, spec = cfg.image_size, jax.ShapeDtypeStruct
  return Task(
    name="detection",
    batch_spec={
      "image": spec((batch_size, side, side, 3), jnp.uint8),
      "boxes": spec((batch_size, boxes, 4), jnp.float32),
      "labels": spec((batch_size, boxes), jnp.int32),
    },
    init=functools.partial(_init, model, options, prompts),
    loss=functools.partial(_loss, model, options, prompts, microbatches),
    predict=predictions(model, options, nms),
    stages=(),
  )


def _with_phrases(cfg: config.Slan, prompts: Prompts) -> config.Slan:
  """Room for every phrase of every prompt; the parameters stay the same."""
  content = content_tokens(prompts.ids, prompts.mask, cfg.text.function_ids)
  _, heads = phrase_heads(content, prompts.ids.shape[1])
  most = int(jnp.max(jnp.sum(heads, axis=1)))
  return dataclasses.replace(
    cfg, word_map=dataclasses.replace(cfg.word_map, phrases=most)
  )


def predictions(
  model: Slan, options: Localisation, nms: float
) -> dict[str, Callable]:
  """encode_image, encode_text, detect; see `_detect`."""
  made = retrieval.predictions(model)
  return {
    "encode_image": made["encode_image"],
    "encode_text": made["encode_text"],
    "detect": functools.partial(_detect, model, options, nms),
  }


def _detect(
  model: Slan,
  options: Localisation,
  nms: float,
  params: Any,
  images: ImageState,
  text: TextState,
  class_tokens: jax.Array,
) -> dict[str, jax.Array]:
  """Looks for the classes of one prompt.

  Args:
    images: states of B images.
    text: states of one prompt, leading axis 1.
    class_tokens: [C, N] bool.

  Returns:
    boxes [B, R, 4] xyxy in [0, 1], and scores [B, R, C] in [0, 1]: saliency
    times the mean over a class's tokens; -1 where suppressed.
  """
  text = _asked(model, text, class_tokens, images.v.shape[0])
  located, scores, counts = localisation.region_scores(
    model, options, params, images, text
  )
  weight = (class_tokens & counts[:1]).astype(jnp.float32)
  weight /= jnp.maximum(jnp.sum(weight, axis=-1, keepdims=True), 1.0)
  scores = jnp.einsum("brn,cn->brc", scores[:, -1], weight)
  boxes = box_ops.clip_xyxy(box_ops.cxcywh_to_xyxy(located.boxes[:, -1]))
  if nms:
    scores = jnp.where(suppress(boxes, scores, threshold=nms), scores, -1.0)
  return {"boxes": boxes, "scores": scores}


def _asked(
  model: Slan, text: TextState, class_tokens: jax.Array, count: int
) -> TextState:
  """One prompt for `count` images; only its classes are phrases.

  The classes before and after a class say nothing of its place.
  """
  if text.phrases is not None:
    named = jnp.any(class_tokens, axis=0)[text.phrases["head"]]
    mask = text.phrases["mask"] & named
    vectors = text.phrases["vectors"]
    vectors = vectors.at[..., model.cfg.word_map.width :].set(0)
    own = text.phrases | {"mask": mask, "vectors": vectors}
    text = text._replace(phrases=own)
  return jax.tree.map(
    lambda x: jnp.broadcast_to(x, (count, *x.shape[1:])), text
  )


def _init(
  model: Slan, options: Localisation, prompts: Prompts, key: jax.Array
) -> tuple[dict[str, Any], dict]:
  params = init_model(model, prompts.ids.shape[1], key)
  return params | {localisation.HEAD: localisation.new_head(options)}, {}


def _loss(
  model: Slan,
  options: Localisation,
  prompts: Prompts,
  parts: int,
  params: dict[str, Any],
  ema: dict[str, Any],
  carry: dict,
  batch: dict[str, jax.Array],
  *,
  key: jax.Array,
  step: jax.Array,
  stage: int,
) -> tuple[jax.Array, tuple[Metrics, dict]]:
  """Losses of one prompt on the batch; see `Task.loss`."""
  del ema, step, stage
  batch = constrain_batch(batch)
  row = jax.random.randint(key, (), 0, len(prompts.ids))
  ids, mask, class_tokens, classes = (jnp.asarray(x)[row] for x in prompts)
  call = functools.partial(model.apply, {"params": params["slan"]})
  text = call(ids[None], mask[None], method="encode_text")

  def look(image: jax.Array):
    images = call(image, method="encode_image")
    texts = _asked(model, text, class_tokens, len(image))
    return localisation.token_scores(model, options, params, images, texts)

  located, log_p, counts = microbatched(look, parts)(batch["image"])
  named = batch["labels"][..., None] == classes[None, None]
  named &= (classes >= 0)[None, None]
  targets = localisation.Targets(
    boxes=box_ops.xyxy_to_cxcywh(batch["boxes"]),
    exists=jnp.any(named, axis=-1),
    tokens=jnp.einsum(
      "boc,cn->bon", named.astype(jnp.float32), class_tokens * 1.0
    ),
  )
  terms, metrics = localisation.localisation_terms(
    options, located.boxes, log_p, counts, targets
  )
  return localisation.total(terms), (metrics | terms, carry)
