"""Losses of the regions: Eq. 3 and the saliency's.

Axes: B batch, R regions, P phrases. Boxes are cxcywh in [0, 1] of the image.
"""

import jax
import jax.numpy as jnp

from slan_jax.ops import boxes as box_ops


def regression_loss(
  boxes: jax.Array,
  target: jax.Array,
  mask: jax.Array,
  *,
  l1: float,
  giou: float,
) -> tuple[jax.Array, jax.Array]:
  """L_reg of Eq. 3, summed over regions (Eq. 8), to be averaged over images.

  Args:
    boxes: [B, R, 4] g of the detection head.
    target: [B, R, 4], the mean of the adaptor's levels.
    mask: [B, R] bool, regions that count.
    l1: weight of the L1 term.
    giou: weight of the GIoU term.

  Returns:
    Sum over all regions and the number of images, float32 scalars.
  """
  boxes, target = boxes.astype(jnp.float32), target.astype(jnp.float32)
  distance = jnp.sum(jnp.abs(boxes - target), axis=-1)
  overlap = box_ops.giou(
    box_ops.cxcywh_to_xyxy(boxes), box_ops.cxcywh_to_xyxy(target)
  )
  loss = l1 * distance + giou * (1 - overlap)
  return jnp.sum(jnp.where(mask, loss, 0.0)), jnp.float32(boxes.shape[0])


LEAST_FIT = 0.02  # below it no region lies on what a phrase names


def saliency_target(fit: jax.Array, mask: jax.Array) -> jax.Array:
  """How salient a region ought to be: its best fit, relative to its rivals.

  Each phrase counts from its best region, so that it keeps one: small objects
  are fitted worse than large ones, and would be filtered out.

  Args:
    fit: [B, R, P] in [0, 1], how well regions fit phrases.
    mask: [B, P] bool, phrases that exist.

  Returns:
    [B, R] in [0, 1], without a gradient.
  """
  best = jnp.max(fit, axis=1, keepdims=True)
  share = fit / jnp.maximum(best, LEAST_FIT)
  share = jnp.max(jnp.where(mask[:, None], share, 0.0), axis=-1)
  return jax.lax.stop_gradient(share)


def saliency_loss(
  logit: jax.Array, target: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Binary cross entropy of saliency logits; an addition to the paper.

  Args:
    logit: [B, R].
    target: [B, R] in [0, 1], how well a phrase confirms the region.
    mask: [B, R] bool.

  Returns:
    Sum and count, float32 scalars.
  """
  logit = logit.astype(jnp.float32)
  loss = jax.nn.softplus(logit) - target * logit
  weight = mask.astype(jnp.float32)
  return jnp.sum(loss * weight), jnp.sum(weight)
