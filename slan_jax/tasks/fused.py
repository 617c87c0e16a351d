"""The terms of fused pairs: what the losses ask of self-localisation.

Axes: B batch, N words, R regions, P phrases.
"""

import jax
import jax.numpy as jnp

from slan_jax.models.locator import Located
from slan_jax.models.memory import caption_memory
from slan_jax.models.slan import ImageState, TextState
from slan_jax.models.word_map import inner_tokens
from slan_jax.objective import language, matching, monitors, regions
from slan_jax.ops.corrupt import mask_tokens
from slan_jax.tasks.config import Batch, Objective
from slan_jax.tasks.encoded import Encoded
from slan_jax.tasks.microbatch import microbatched
from slan_jax.tasks.negatives import negative_pairs
from slan_jax.tasks.task import Metrics


def fused_terms(
  objective: Objective,
  shape: Batch,
  online: Encoded,
  swapped: TextState | None,
  batch: dict[str, jax.Array],
  tau: jax.Array,
  *,
  key: jax.Array,
) -> tuple[Metrics, Metrics]:
  """ITM, language and region terms of Eq. 8 and 9.

  Args:
    objective: the losses.
    shape: the global batch.
    online: its images and texts, encoded.
    swapped: the captions with one word changed, or None.
    batch: the arrays of `batch_spec`.
    tau: temperature of ITC, by which hard negatives are drawn.
    key: of negatives and masked words.

  Returns:
    Terms, name -> (sum, count), and what is only watched, alike.
  """
  match_key, mask_key = jax.random.split(key)

  def fuse(image: ImageState, text: TextState):
    located = online.call(image, text, method="locate")
    return located, online.call(image, text, located, method="match")

  fuse = microbatched(fuse, shape.microbatches, recompute=online.recompute)
  located, positive = fuse(online.image, online.text)
  terms, metrics = {}, {}
  if objective.itm:
    negatives = negative_pairs(
      objective, online, swapped, batch, tau, key=match_key
    )
    decided = _decisions(fuse, positive, negatives)
    terms["itm"] = matching.matching_loss(*decided)
    metrics["itm_accuracy"] = matching.matching_accuracy(*decided)
  if objective.mlm:
    terms["mlm"] = _masked_language(objective, shape, online, batch, mask_key)
  if objective.lm:
    terms["lm"] = _causal_language(objective, shape, online, batch)
  if objective.reg:
    terms["reg"] = region_term(objective, online.image.regions, located)
  if objective.saliency:
    terms["saliency"] = _saliency_term(online)
  kept = online.image.regions
  metrics |= monitors.region_monitors(
    jax.lax.stop_gradient(located.boxes), kept["mask"], kept["score"]
  )
  metrics["confirmed"] = (
    jnp.sum(located.confirmed.astype(jnp.float32)),
    jnp.sum(kept["mask"].astype(jnp.float32)),
  )
  return terms, metrics


def _decisions(fuse, positive, negatives):
  """ITM logits, labels and validity of the matched and unmatched pairs."""
  rows = positive.shape[0]
  logits, valid = [positive], [jnp.ones(rows, bool)]
  for image, text, exists in negatives:
    logits.append(fuse(image, text)[1])
    valid.append(exists)
  logits, valid = jnp.concatenate(logits), jnp.concatenate(valid)
  return logits, (jnp.arange(logits.shape[0]) < rows).astype(jnp.int32), valid


def _masked_language(objective, shape, online, batch, key):
  """Eq. 7 on the fused words of a second, masked pass."""
  ids, mask = batch["text"], batch["text_mask"]
  corrupted, counted = mask_tokens(
    ids,
    inner_tokens(mask),
    key=key,
    rate=objective.mask_rate,
    mask_id=shape.mask_id,
    vocab_size=online.vocab_size,
  )
  masked = online.encode_text(corrupted, mask)
  # Regions are sought with the true words: masking is for the words only.
  masked = masked._replace(phrases=online.text.phrases)

  def predict(image, text):
    located = online.call(image, text, method="locate")
    return online.call(located.words, method="predict_words")

  predict = microbatched(
    predict, shape.microbatches, recompute=online.recompute
  )
  logits = predict(online.image, masked)
  return language.token_loss(logits, ids, counted, label_smoothing=0.0)


def _causal_language(objective, shape, online, batch):
  """The text decoder reads the regions and writes the caption.

  They are located for an empty text, as a run writes that was not fine-tuned
  behind a prompt: those of the caption would tell it.
  """
  ids, mask = batch["text"], batch["text_mask"]
  last = jnp.sum(mask, axis=1, keepdims=True) - 1
  marks = jnp.concatenate(
    [ids[:, :1], jnp.take_along_axis(ids, last, axis=1)], axis=1
  )
  empty = online.encode_text(marks, jnp.ones(marks.shape, bool))

  def write(image, text, ids, mask):
    located = online.call(image, text, method="locate")
    memory = caption_memory(image, located.regions)
    return online.call(ids, mask, *memory, method="generate")

  write = microbatched(write, shape.microbatches, recompute=online.recompute)
  logits = write(online.image, empty, ids, mask)
  return language.token_loss(
    logits[:, :-1],
    ids[:, 1:],
    mask[:, 1:],
    label_smoothing=objective.lm_smoothing,
  )


def region_term(
  objective: Objective, kept: dict[str, jax.Array], located: Located
) -> tuple[jax.Array, jax.Array]:
  """L_reg of Eq. 3 between G_0, the kept regions, and the mean of G_1..G_L."""
  boxes, target = kept["boxes"], located.mean_boxes
  if objective.reg_stop_gradient:
    target = jax.lax.stop_gradient(target)
  mask = kept["mask"]
  if objective.reg_regions == "slots":
    mask = jnp.ones_like(mask)
  if objective.reg_confirmed:
    shift = jnp.abs(target[..., :2] - boxes[..., :2])
    near = jnp.all(shift < objective.reg_max_shift, axis=-1)
    mask = located.confirmed & near
  return regions.regression_loss(
    boxes, target, mask, l1=objective.reg_l1, giou=objective.reg_giou
  )


def _saliency_term(online):
  """Saliency follows how well a proposal fits some phrase of the caption."""
  proposals = online.image.proposals
  fit = online.call(
    online.image, online.text, proposals["boxes"], method="box_fit"
  )
  target = regions.saliency_target(fit, online.text.phrases["mask"])
  logit = proposals["saliency_logit"]
  return regions.saliency_loss(logit, target, jnp.ones(logit.shape, bool))
