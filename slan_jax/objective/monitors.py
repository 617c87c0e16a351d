"""What to watch: nothing in the paper forbids all boxes collapsing to one.

Axes: B batch, R regions, L levels. Boxes are cxcywh in [0, 1] of the image.
"""

import jax
import jax.numpy as jnp

from slan_jax.ops import boxes as box_ops

Metrics = dict[str, tuple[jax.Array, jax.Array]]


def region_monitors(
  boxes: jax.Array, mask: jax.Array, score: jax.Array
) -> Metrics:
  """Collapse monitors of the kept regions.

  Args:
    boxes: [B, L + 1, R, 4], level 0 before adaptation.
    mask: [B, R] bool, kept regions.
    score: [B, R] normalised saliency.

  Returns:
    name -> (sum, count): area, pairwise_iou, spread (standard deviation of
    centres), kept (regions per image), saliency_entropy (nats), shift_x and
    shift_y (mean absolute movement of the centre, fraction of the image).
  """
  weight = mask.astype(jnp.float32)
  kept = jnp.sum(weight)
  images = jnp.float32(mask.shape[0])
  last = boxes[:, -1]
  shift = jnp.abs(last[..., :2] - boxes[:, 0, :, :2]) * weight[..., None]
  corners = box_ops.cxcywh_to_xyxy(last)
  overlap = box_ops.pairwise_iou(corners, corners)
  pair = weight[:, :, None] * weight[:, None]
  pair *= 1 - jnp.eye(mask.shape[1])[None]
  mean = jnp.sum(last[..., :2] * weight[..., None], 1, keepdims=True)
  mean /= jnp.maximum(jnp.sum(weight, 1), 1.0)[:, None, None]
  variance = jnp.square(last[..., :2] - mean) * weight[..., None]
  p = score * weight
  p /= jnp.maximum(jnp.sum(p, -1, keepdims=True), 1e-9)
  entropy = -jnp.sum(p * jnp.log(jnp.maximum(p, 1e-9)), -1)
  return {
    "area": (jnp.sum(box_ops.area(corners) * weight), kept),
    "pairwise_iou": (jnp.sum(overlap * pair), jnp.sum(pair)),
    "spread": (jnp.sum(jnp.sqrt(variance.sum(1) / _some(weight))), 2 * images),
    "kept": (kept, images),
    "saliency_entropy": (jnp.sum(entropy), images),
    "shift_x": (jnp.sum(shift[..., 0]), kept),
    "shift_y": (jnp.sum(shift[..., 1]), kept),
  }


def scale_monitors(locator: dict[str, dict[str, jax.Array]]) -> Metrics:
  """p_w and p_h of every level (Algorithm 1, line 9).

  Args:
    locator: parameters of the adaptor by level; log_scale [2] where a level
      has one.

  Returns:
    p_w_1, p_h_1, p_w_2 ...: (value, 1); 1 keeps a side as it is.
  """
  watched = {}
  for level, params in locator.items():
    if "log_scale" in params:
      width, height = jnp.exp(jax.lax.stop_gradient(params["log_scale"]))
      number = level.removeprefix("level_")
      watched[f"p_w_{number}"] = width, jnp.float32(1)
      watched[f"p_h_{number}"] = height, jnp.float32(1)
  return watched


def _some(weight: jax.Array) -> jax.Array:
  return jnp.maximum(jnp.sum(weight, 1), 1.0)[:, None]
