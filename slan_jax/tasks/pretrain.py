"""Pre-training (section 3.3): L_all = L_itc + L_itm + L_lm + L_reg.

Axes: B batch, H swapped captions, N words, R regions, P phrases.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch
from slan_jax.models import config
from slan_jax.models.slan import Slan
from slan_jax.objective import contrastive, phrases
from slan_jax.objective.monitors import scale_monitors
from slan_jax.tasks import grounding, retrieval
from slan_jax.tasks.config import Batch, Objective
from slan_jax.tasks.encoded import Encoded, embeddings
from slan_jax.tasks.fused import fused_terms
from slan_jax.tasks.microbatch import check_parts
from slan_jax.tasks.parameters import init_model
from slan_jax.tasks.task import Metrics, Task

TEMPERATURE_BOUNDS = (0.001, 0.5)  # of tau, as ALBEF
PHRASE_SCALE_BOUNDS = (1.0, 100.0)


def make_task(
  cfg: config.Slan, objective: Objective, batch: Batch, total_steps: int
) -> Task:
  """The pre-training task.

  Args:
    cfg: the model.
    objective: the losses.
    batch: the global batch.
    total_steps: length of the run, for the unimodal part.

  Returns:
    A `Task` with the predictions of retrieval and grounding.

  Raises:
    ValueError: microbatches or pools that do not divide the batch, or swapped
      words asked for without captions to carry them.
  """
  check_parts(batch.size, batch.microbatches)
  pool = objective.negative_pool
  if pool < 0 or (0 < pool < batch.size and batch.size % pool):
    raise ValueError(
      f"objective.negative_pool={pool} does not divide batch_size={batch.size}"
    )
  if objective.swapped_words and not batch.hard_negatives:
    raise ValueError(
      "objective.swapped_words needs text.hard_negatives of at least 1"
    )
  if objective.phrase and not cfg.word_map.enabled:
    raise ValueError("objective.phrase needs model.word_map.enabled")
  model = Slan(cfg)
  first = round(objective.unimodal_fraction * total_steps)
  return Task(
    name="pretrain",
    batch_spec=batch_spec(cfg, batch),
    init=functools.partial(_init, model, objective, batch),
    loss=functools.partial(_loss, model, objective, batch, bool(first)),
    predict={**retrieval.predictions(model), **grounding.predictions(model)},
    stages=(first,) if first else (),
  )


def batch_spec(
  cfg: config.Slan, batch: Batch
) -> dict[str, jax.ShapeDtypeStruct]:
  """Names, shapes and types of one global batch."""
  b, n, h, s = (
    batch.size,
    batch.max_length,
    batch.hard_negatives,
    cfg.image_size,
  )
  spec = jax.ShapeDtypeStruct
  return {
    "image": spec((b, s, s, 3), jnp.uint8),
    "text": spec((b, n), jnp.int32),
    "text_mask": spec((b, n), bool),
    "image_id": spec((b,), jnp.int32),
    "text_id": spec((b,), jnp.int32),
    "negatives": spec((b, h, n), jnp.int32),
    "negatives_mask": spec((b, h, n), bool),
  }


def _init(
  model: Slan, objective: Objective, batch: Batch, key: jax.Array
) -> tuple[dict[str, Any], contrastive.Queue]:
  params = init_model(model, batch.max_length, key)
  learned = {"temperature": jnp.float32(objective.temperature)}
  if objective.phrase:
    learned["phrase_scale"] = jnp.float32(10.0)
  queue = contrastive.empty_queue(
    objective.queue_size, model.cfg.heads.embed_dim
  )
  return params | {"objective": learned}, queue


def _loss(
  model: Slan,
  objective: Objective,
  shape: Batch,
  staged: bool,
  params: dict[str, Any],
  ema: dict[str, Any],
  carry: contrastive.Queue,
  batch: dict[str, jax.Array],
  *,
  key: jax.Array,
  step: jax.Array,
  stage: int,
) -> tuple[jax.Array, tuple[Metrics, contrastive.Queue]]:
  """Eq. 8 and 9 with the additions' terms; see `Task.loss`."""
  del step
  batch = constrain_batch(batch)
  online = Encoded(model, params["slan"], batch, shape.microbatches)
  swapped = None
  if objective.swapped_words:
    rows = batch["negatives"][:, 0], batch["negatives_mask"][:, 0]
    swapped = online.encode_text(*rows)
  tau = jnp.clip(params["objective"]["temperature"], *TEMPERATURE_BOUNDS)
  teacher = None
  if objective.momentum:
    teacher = jax.lax.stop_gradient(
      embeddings(model, ema["slan"], batch, shape.microbatches)
    )
  terms = {}
  terms["itc"], rows = _itc(
    objective, online, teacher, swapped, carry, batch, tau
  )
  if objective.phrase:
    terms["phrase"] = _phrase(objective, online, params, batch)
  metrics = {"temperature": (tau, jnp.float32(1))}
  if not staged or stage > 0:
    more, watched = fused_terms(
      objective, shape, online, swapped, batch, tau, key=key
    )
    terms |= more
    metrics |= watched
    metrics |= scale_monitors(params["slan"].get("locator", {}))
  total = sum(
    getattr(objective, name) * value / jnp.maximum(count, 1.0)
    for name, (value, count) in terms.items()
  )
  metrics |= terms
  return total, (metrics, contrastive.enqueue(carry, rows))


def _itc(objective, online, teacher, swapped, queue, batch, tau):
  """Eq. 5 and 6, and the rows to enqueue."""
  image, text = online.image.embedding, online.text.embedding
  own = teacher if objective.momentum else (image, text)
  rows = contrastive.as_rows(*own, batch)
  keys = contrastive.key_bank(queue, rows)
  ignored = contrastive.same(batch["image_id"], keys["image_id"])
  ignored |= contrastive.same(batch["text_id"], keys["text_id"])
  matches = text_matches = None
  if objective.image_targets:
    matches = batch["image_id"][:, None] == keys["image_id"][None]
    text_matches = matches
  text_keys, text_ignored = keys["text"], ignored
  if swapped is not None:
    # Each image also meets its own caption with one word changed.
    missing = ~jnp.any(batch["negatives_mask"][:, 0], axis=-1)
    mine = jnp.eye(image.shape[0], dtype=bool) & ~missing[None]
    text_keys = jnp.concatenate([text_keys, swapped.embedding])
    text_ignored = jnp.concatenate([text_ignored, ~mine], axis=1)
    if text_matches is not None:
      text_matches = jnp.pad(text_matches, ((0, 0), (0, mine.shape[1])))
  contrast = functools.partial(
    contrastive.contrastive_loss,
    temperature=tau,
    soft_targets=objective.soft_targets,
  )
  teacher_image, teacher_text = own
  to_text, count = contrast(
    image,
    text_keys,
    ignored=text_ignored,
    teacher=teacher_image,
    matches=text_matches,
  )
  to_image, _ = contrast(
    text,
    keys["image"],
    ignored=ignored,
    teacher=teacher_text,
    matches=matches,
  )
  return (to_text + to_image, count), jax.lax.stop_gradient(rows)


def _phrase(objective, online, params, batch):
  """The phrase-map contrast, an addition to the paper."""
  maps = online.image.word_map
  maps = maps.reshape(maps.shape[0], -1, maps.shape[-1])
  mine = online.text.phrases
  sharpness = objective.phrase_sharpness
  scores = phrases.caption_scores(
    maps, mine["vectors"], mine["mask"], sharpness=sharpness
  )
  ids, mask = batch["negatives"], batch["negatives_mask"]
  count, extra, length = ids.shape
  other = online.call(
    ids.reshape(-1, length), mask.reshape(-1, length), method="encode_phrases"
  )
  other = jax.tree.map(lambda x: x.reshape(count, extra, *x.shape[1:]), other)
  negatives = phrases.own_caption_scores(
    maps, other["vectors"], other["mask"], sharpness=sharpness
  )
  scale = jnp.clip(params["objective"]["phrase_scale"], *PHRASE_SCALE_BOUNDS)
  return phrases.phrase_loss(
    scores,
    negatives,
    scale=scale,
    same_text=contrastive.same(batch["text_id"], batch["text_id"]),
    negatives_mask=jnp.any(mask, axis=-1),
  )
