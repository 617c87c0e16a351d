"""RoIAlign (He et al., 2017) without gathers, differentiable in the boxes.

Bilinear sampling of a bin is separable, and the mean over its samples is
linear, so a bin is two rows of interpolation weights: one over the height,
one over the width of the map. Pooling is then two einsums.

Letters: B batch, R regions, H W sides of the map, D width, s output bins.
"""

import jax
import jax.numpy as jnp


def roi_align(
  features: jax.Array,
  boxes: jax.Array,
  *,
  output_size: int,
  sampling_ratio: int,
) -> jax.Array:
  """Pools each box into s x s bins (the paper's RoIAlign, section 3.2.3).

  Half-pixel aligned and zero outside the map, as torchvision's `roi_align`
  with `aligned=True`; unlike it, differentiable in the boxes.

  Args:
    features: [B, H, W, D] float.
    boxes: [B, R, 4] float, cxcywh in [0, 1] of the image; may reach outside.
    output_size: s, bins per side.
    sampling_ratio: samples per bin and side.

  Returns:
    [B, R, s, s, D] in the dtype of `features`; axis 2 runs down the image.

  Raises:
    ValueError: shapes that do not fit, or sizes below 1.
  """
  _check(features, boxes, output_size, sampling_ratio)
  _, height, width, _ = features.shape
  boxes = boxes.astype(jnp.float32)
  rows, columns = (
    interpolation_weights(
      boxes[..., axis],
      boxes[..., axis + 2],
      length=length,
      output_size=output_size,
      sampling_ratio=sampling_ratio,
    ).astype(features.dtype)
    for axis, length in ((1, height), (0, width))
  )
  bands = jnp.einsum("brih,bhwd->briwd", rows, features)
  return jnp.einsum("brjw,briwd->brijd", columns, bands)


def roi_mean(
  features: jax.Array, boxes: jax.Array, *, samples: int
) -> jax.Array:
  """RoIAlign and the mean over its bins, in one: the bins are never made.

  Args:
    features: [B, H, W, D] float.
    boxes: [B, R, 4] float, cxcywh in [0, 1] of the image.
    samples: bins times samples per bin, along a side.

  Returns:
    [B, R, D] in the dtype of `features`.
  """
  pooled = roi_align(features, boxes, output_size=1, sampling_ratio=samples)
  return pooled[:, :, 0, 0]


def interpolation_weights(
  centres: jax.Array,
  sizes: jax.Array,
  *,
  length: int,
  output_size: int,
  sampling_ratio: int,
) -> jax.Array:
  """Weights with which the cells of one map axis enter each bin of a box.

  With `output_size=1` and `sampling_ratio=s * n` this is the mean over s bins
  of n samples: the same points, equally weighted.

  Args:
    centres: [...] float, centre of the box along this axis, image = 1.
    sizes: [...] float, side of the box along this axis, image = 1.
    length: cells of the map along this axis.
    output_size: s, bins of the box.
    sampling_ratio: samples per bin.

  Returns:
    [..., s, length] float32; a row sums to the share of its samples that lie
    on the map.
  """
  samples = output_size * sampling_ratio
  # Sample centres in units of the box side, then in cells. Cell i is centred
  # at i, its left edge at i - 0.5: hence the half pixel.
  steps = (jnp.arange(samples, dtype=jnp.float32) + 0.5) / samples - 0.5
  steps = steps.reshape((1,) * centres.ndim + (samples,))
  points = (centres[..., None] + steps * sizes[..., None]) * length - 0.5
  # torchvision's border rule: one cell beyond the map still reads the border.
  inside = (points >= -1.0) & (points <= length)
  points = jnp.clip(points, 0.0, length - 1.0)
  cells = jnp.arange(length, dtype=jnp.float32)
  cells = cells.reshape((1,) * points.ndim + (length,))
  tents = jnp.maximum(1.0 - jnp.abs(points[..., None] - cells), 0.0)
  tents = jnp.where(inside[..., None], tents, 0.0)
  bins = (*centres.shape, output_size, sampling_ratio, length)
  return tents.reshape(bins).mean(axis=-2)


def _check(
  features: jax.Array, boxes: jax.Array, output_size: int, sampling_ratio: int
) -> None:
  if features.ndim != 4:
    raise ValueError(
      f"features: expected [B, H, W, D], got shape {features.shape}"
    )
  if boxes.ndim != 3 or boxes.shape[-1] != 4:
    raise ValueError(f"boxes: expected [B, R, 4], got shape {boxes.shape}")
  if boxes.shape[0] != features.shape[0]:
    raise ValueError(
      f"boxes belong to {boxes.shape[0]} images, features to "
      f"{features.shape[0]}"
    )
  if output_size < 1 or sampling_ratio < 1:
    raise ValueError(
      "output_size and sampling_ratio must be at least 1, got "
      f"{output_size} and {sampling_ratio}"
    )
