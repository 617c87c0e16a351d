"""Localisation learned from boxes: what detection and grounding share.

Every level's regions are matched with the boxes of the image; a matched region
learns its box and the tokens that name it, any other that it shows nothing
named (as MDETR; docs/METHOD.md). The paper says only that its pre-trained model
is fine-tuned (4.2.6).

Axes: B images, L levels, R regions, M boxes (some padded), N tokens.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from slan_jax.models import config
from slan_jax.models.locator import Located
from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.objective import detection
from slan_jax.ops import boxes as box_ops
from slan_jax.tasks import region_tokens
from slan_jax.tasks.config import Localisation
from slan_jax.tasks.task import Metrics

HEAD = "localisation"  # the subtree of parameters that this adds
TEMPERATURE_BOUNDS = (0.01, 1.0)


class Targets(NamedTuple):
  """What is to be found in each image.

  Attributes:
    boxes: [B, M, 4] float32 cxcywh. exists: [B, M] bool.
    tokens: [B, M, N] float32, the distribution over tokens that names a box.
  """

  boxes: jax.Array
  exists: jax.Array
  tokens: jax.Array


def with_regions(cfg: config.Slan, options: Localisation) -> config.Slan:
  """The model with the region filter that localisation asks for.

  The paper's 10 regions of an image (3.2.2) cap the recall of detection.
  """
  top = options.top or cfg.detector.queries
  chosen = dataclasses.replace(cfg.filter, top=top, threshold=options.threshold)
  return dataclasses.replace(cfg, filter=chosen)


def new_head(options: Localisation) -> dict[str, jax.Array]:
  """Parameters beside the model's: temperature and cosine of "nothing"."""
  return {
    "temperature": jnp.float32(options.temperature),
    "nothing": jnp.float32(options.nothing),
  }


def token_scores(
  model: Slan,
  options: Localisation,
  params: Any,
  images: ImageState,
  texts: TextState,
) -> tuple[Located, jax.Array, jax.Array]:
  """Locates the tokens of texts.

  Args:
    model: the model.
    options: for parameters that have no head of localisation yet.
    params: of the task, or of a pre-trained model.
    images: states of B images.
    texts: states of their texts.

  Returns:
    The regions; log probability [B, L + 1, R, N + 1] of each token and of
    "nothing" last; [B, N] bool, the tokens that count.
  """
  call = _method(model, params)
  located = call(images, texts, method="locate")
  cosine, counts = region_tokens.token_cosines(
    model, call, images, texts, located
  )
  head = params.get(HEAD) or new_head(options)
  tau = jnp.clip(head["temperature"], *TEMPERATURE_BOUNDS)
  levels, regions = cosine.shape[1:3]
  kept = jnp.take_along_axis(
    images.proposals["saliency_logit"], images.regions["index"], axis=1
  )
  log_p = detection.token_log_probability(
    cosine.reshape(-1, levels * regions, cosine.shape[-1]) / tau,
    counts,
    head["nothing"] / tau,
    jnp.tile(kept, (1, levels)),
  )
  return located, log_p.reshape(-1, levels, regions, log_p.shape[-1]), counts


def region_scores(
  model: Slan,
  options: Localisation,
  params: Any,
  images: ImageState,
  texts: TextState,
) -> tuple[Located, jax.Array, jax.Array]:
  """As `token_scores`, but how good an answer a region is to each token.

  Returns:
    The regions; [B, L + 1, R, N] in [0, 1]: saliency times the probability of
    the token, with a word map also times the fit of the box to the phrase's
    map, where `options.fit` says so; [B, N] bool, the tokens that count.
  """
  located, log_p, counts = token_scores(model, options, params, images, texts)
  scores = jnp.exp(log_p[..., :-1])
  if options.fit and texts.phrases is not None:
    scores *= region_tokens.phrase_fit(
      _method(model, params), images, texts, located.boxes
    )
  return located, scores, counts


def _method(model: Slan, params: Any) -> Callable:
  def call(*arguments: Any, method: str) -> Any:
    return model.apply({"params": params["slan"]}, *arguments, method=method)

  return call


def localisation_terms(
  options: Localisation,
  boxes: jax.Array,
  log_p: jax.Array,
  counts: jax.Array,
  targets: Targets,
) -> tuple[Metrics, Metrics]:
  """Losses of every level; the levels before the last are auxiliary.

  Args:
    options: weights.
    boxes: [B, L + 1, R, 4] cxcywh, the regions after each level.
    log_p: [B, L + 1, R, N + 1] of `token_scores`.
    counts: [B, N] bool of `token_scores`.
    targets: what is to be found; a box whose tokens do not count is passed
      over, and so are more boxes than regions.

  Returns:
    Terms, name -> (weighted sum, boxes), and what is only watched, alike.
  """
  levels, regions = log_p.shape[1:3]
  targets, lost = _usable(targets, counts, regions)
  each = jax.tree.map(lambda x: jnp.repeat(x, levels, axis=0), targets)
  boxes, log_p = (x.reshape(-1, *x.shape[2:]) for x in (boxes, log_p))
  cost = detection.match_cost(
    jnp.exp(log_p[..., :-1]), boxes, each.tokens, each.boxes,
    tokens=options.cost_tokens, l1=options.cost_l1, giou=options.cost_giou,
  )  # fmt: skip
  matched = detection.match_boxes(cost, each.exists)
  found = {
    "tokens": detection.soft_token_loss(
      log_p, each.tokens, matched, nothing=options.nothing_weight
    )
  } | detection.box_losses(boxes, each.boxes, matched)
  last = jnp.arange(levels) == levels - 1
  weight = jnp.tile(jnp.where(last, 1.0, options.auxiliary), len(lost))
  count = jnp.sum(targets.exists.astype(jnp.float32))
  terms = {
    name: (getattr(options, name) * jnp.sum(weight * rows), count)
    for name, rows in found.items()
  }
  overlap = _overlap(boxes, each, matched).reshape(-1, levels)
  watched = {
    "matched_iou": (jnp.sum(overlap[:, -1]), count),
    "matched_iou_level0": (jnp.sum(overlap[:, 0]), count),
    "boxes_lost": (jnp.sum(lost), jnp.float32(len(lost))),
  }
  return terms, watched


def total(terms: Metrics) -> jax.Array:
  """The loss: terms per box, summed; they are weighted already."""
  return sum(value / jnp.maximum(count, 1.0) for value, count in terms.values())


def _overlap(
  boxes: jax.Array, targets: Targets, matched: jax.Array
) -> jax.Array:
  """Sum over an image's boxes of the IoU with their regions: [B]."""
  mine = jnp.einsum("bmr,brc->bmc", matched, boxes)
  overlap = box_ops.iou(
    box_ops.cxcywh_to_xyxy(mine), box_ops.cxcywh_to_xyxy(targets.boxes)
  )
  return jnp.sum(jnp.where(targets.exists, overlap, 0.0), axis=-1)


def _usable(
  targets: Targets, counts: jax.Array, regions: int
) -> tuple[Targets, jax.Array]:
  """Boxes that some token names, at most one per region; lost ones [B]."""
  tokens = jnp.where(counts[:, None], targets.tokens, 0.0)
  share = jnp.sum(tokens, axis=-1, keepdims=True)
  exists = targets.exists & (share[..., 0] > 0)
  # The first that exist, in their order.
  order = jnp.argsort(~exists, axis=1, stable=True)[:, :regions]
  kept = jax.tree.map(
    lambda x: jnp.take_along_axis(
      x, order.reshape(*order.shape, *(1,) * (x.ndim - 2)), axis=1
    ),
    Targets(targets.boxes, exists, tokens / jnp.maximum(share, 1e-6)),
  )
  before = jnp.sum(targets.exists, axis=1)
  return kept, before - jnp.sum(kept.exists, axis=1)
