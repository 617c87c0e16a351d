"""Non-maximum suppression per class, with static shapes.

Letters: B images, R regions, C classes.
"""

import jax
import jax.numpy as jnp

from slan_jax.ops.boxes import pairwise_iou


def suppress(
  boxes: jax.Array, scores: jax.Array, *, threshold: float
) -> jax.Array:
  """Keeps a region for a class unless a better kept one overlaps it.

  Greedy, as torchvision's `nms`, for every class on its own; the lower index
  first among equal scores.

  Args:
    boxes: [B, R, 4] float, xyxy.
    scores: [B, R, C] float.
    threshold: IoU above which the lower-scored region goes.

  Returns:
    [B, R, C] bool, what is kept.
  """
  overlaps = pairwise_iou(boxes, boxes) > threshold
  one_class = jax.vmap(_keep, in_axes=(None, -1), out_axes=-1)
  return jax.vmap(one_class)(overlaps, scores)


def _keep(overlaps: jax.Array, scores: jax.Array) -> jax.Array:
  """Args: overlaps [R, R] bool, scores [R]. Returns [R] bool."""
  order = jnp.argsort(-scores, stable=True)
  sorted_overlaps = overlaps[order][:, order]
  earlier = jnp.tri(len(scores), k=-1, dtype=bool)

  def visit(row: jax.Array, kept: jax.Array) -> jax.Array:
    beaten = jnp.any(kept & sorted_overlaps[row] & earlier[row])
    return kept.at[row].set(~beaten)

  kept = jnp.ones(scores.shape, bool)
  kept = jax.lax.fori_loop(0, scores.shape[0], visit, kept)
  return jnp.zeros_like(kept).at[order].set(kept)
