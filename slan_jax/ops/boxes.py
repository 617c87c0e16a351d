"""Boxes: the two forms, areas and overlaps, safe where boxes are degenerate.

Letters: N, M boxes. Coordinates are fractions of the image, x before y.
cxcywh = centre and sides, xyxy = left, top, right, bottom.
"""

import jax
import jax.numpy as jnp

# Areas below this square (a side of 1e-6 of the image) count as empty: the
# quotient rule squares the denominator, which must not underflow in float32.
_EMPTY = 1e-12


def cxcywh_to_xyxy(boxes: jax.Array) -> jax.Array:
  """Corners of boxes given by centre and sides.

  Args:
    boxes: [..., 4] float, cxcywh.

  Returns:
    [..., 4] xyxy in the same unit.
  """
  centre, size = boxes[..., :2], boxes[..., 2:]
  return jnp.concatenate([centre - size / 2, centre + size / 2], axis=-1)


def xyxy_to_cxcywh(boxes: jax.Array) -> jax.Array:
  """Centre and sides of boxes given by corners.

  Args:
    boxes: [..., 4] float, xyxy.

  Returns:
    [..., 4] cxcywh in the same unit.
  """
  low, high = boxes[..., :2], boxes[..., 2:]
  return jnp.concatenate([(low + high) / 2, high - low], axis=-1)


def clip_xyxy(boxes: jax.Array) -> jax.Array:
  """Part of each box inside the image (empty boxes end on the border).

  Args:
    boxes: [..., 4] float, xyxy, fractions of the image.

  Returns:
    [..., 4] xyxy in [0, 1].
  """
  return jnp.clip(boxes, 0.0, 1.0)


def clamp_cxcywh(boxes: jax.Array, *, min_size: float) -> jax.Array:
  """Keeps a box usable after an update: centre in the image, sides not empty.

  The paper is silent; without it boxes can leave the image or vanish.

  Args:
    boxes: [..., 4] float, cxcywh, fractions of the image.
    min_size: smallest side, fraction of the image.

  Returns:
    [..., 4] cxcywh, centre in [0, 1], sides in [min_size, 1].
  """
  centre = jnp.clip(boxes[..., :2], 0.0, 1.0)
  size = jnp.clip(boxes[..., 2:], min_size, 1.0)
  return jnp.concatenate([centre, size], axis=-1)


def area(boxes: jax.Array) -> jax.Array:
  """Area of boxes; 0 where a side is negative.

  Args:
    boxes: [..., 4] float, xyxy.

  Returns:
    [...] in the squared unit of the boxes.
  """
  size = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
  return size[..., 0] * size[..., 1]


def iou(boxes_a: jax.Array, boxes_b: jax.Array) -> jax.Array:
  """Intersection over union of aligned boxes; 0 where the union is empty.

  Args:
    boxes_a: [..., 4] float, xyxy.
    boxes_b: [..., 4] float, xyxy, same shape.

  Returns:
    [...] in [0, 1].
  """
  intersection, union = _intersection_and_union(boxes_a, boxes_b)
  return _ratio(intersection, union)


def giou(boxes_a: jax.Array, boxes_b: jax.Array) -> jax.Array:
  """Generalised IoU of aligned boxes, as in Eq. 3's GIoU loss (1 - giou).

  Source: Rezatofighi et al., "Generalized Intersection over Union", 2019.

  Args:
    boxes_a: [..., 4] float, xyxy.
    boxes_b: [..., 4] float, xyxy, same shape.

  Returns:
    [...] in [-1, 1]; finite, with finite gradient, for degenerate boxes too.
  """
  intersection, union = _intersection_and_union(boxes_a, boxes_b)
  low = jnp.minimum(boxes_a[..., :2], boxes_b[..., :2])
  high = jnp.maximum(boxes_a[..., 2:], boxes_b[..., 2:])
  hull = area(jnp.concatenate([low, high], axis=-1))
  return _ratio(intersection, union) - _ratio(hull - union, hull)


def pairwise_iou(boxes_a: jax.Array, boxes_b: jax.Array) -> jax.Array:
  """Intersection over union of every pair.

  Args:
    boxes_a: [..., N, 4] float, xyxy.
    boxes_b: [..., M, 4] float, xyxy.

  Returns:
    [..., N, M] in [0, 1].
  """
  return iou(boxes_a[..., :, None, :], boxes_b[..., None, :, :])


def pairwise_giou(boxes_a: jax.Array, boxes_b: jax.Array) -> jax.Array:
  """Generalised IoU of every pair.

  Args:
    boxes_a: [..., N, 4] float, xyxy.
    boxes_b: [..., M, 4] float, xyxy.

  Returns:
    [..., N, M] in [-1, 1].
  """
  return giou(boxes_a[..., :, None, :], boxes_b[..., None, :, :])


def _intersection_and_union(
  boxes_a: jax.Array, boxes_b: jax.Array
) -> tuple[jax.Array, jax.Array]:
  low = jnp.maximum(boxes_a[..., :2], boxes_b[..., :2])
  high = jnp.minimum(boxes_a[..., 2:], boxes_b[..., 2:])
  intersection = area(jnp.concatenate([low, high], axis=-1))
  return intersection, area(boxes_a) + area(boxes_b) - intersection


def _ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
  """Quotient, 0 over an empty denominator, whose gradient is 0 as well."""
  empty = denominator < _EMPTY
  return jnp.where(empty, 0.0, numerator / jnp.where(empty, 1.0, denominator))
