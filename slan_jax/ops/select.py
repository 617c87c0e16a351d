"""The region filter of section 3.2.2, with static shapes.

Letters: B batch, Q proposals, T kept slots, D width.
"""

import jax
import jax.numpy as jnp

_TINY = 1e-6  # keeps the quotients finite when every saliency is 0 or equal


def select_regions(
  boxes: jax.Array,
  embeddings: jax.Array,
  saliency: jax.Array,
  *,
  top: int,
  threshold: float,
  normalise: str,
) -> dict[str, jax.Array]:
  """Keeps at most T regions whose normalised saliency exceeds h.

  The paper's steps (a) to (d): normalise to a maximum of 1, sort, keep
  S_i > h, keep the first T. Slots that fall to the threshold stay in the
  arrays and are masked; the best region always survives. Weighting the
  embeddings by the scores is left to the caller.

  Args:
    boxes: [B, Q, 4] float, any box form.
    embeddings: [B, Q, D] float.
    saliency: [B, Q] float in (0, 1).
    top: T, number of slots.
    threshold: h, compared strictly with the normalised saliency.
    normalise: how the maximum becomes 1, which the paper leaves open: "max"
      (S / max S), "minmax" or "softmax" (softmax S over its maximum).

  Returns:
    "boxes" [B, T, 4], "embeddings" [B, T, D], "score" [B, T] float32
    normalised saliency, "mask" [B, T] bool, "index" [B, T] int32 into Q, in
    descending order of saliency (the lower index first among equals).

  Raises:
    ValueError: more slots than proposals, or an unknown normalisation.
  """
  proposals = saliency.shape[-1]
  if not 1 <= top <= proposals:
    raise ValueError(
      f"top={top} must lie between 1 and the number of proposals, {proposals}"
    )
  normalised = normalise_saliency(saliency, mode=normalise)
  score, index = jax.lax.top_k(normalised, top)
  first = jnp.arange(top)[None, :] == 0
  return {
    "boxes": jnp.take_along_axis(boxes, index[..., None], axis=1),
    "embeddings": jnp.take_along_axis(embeddings, index[..., None], axis=1),
    "score": score,
    "mask": (score > threshold) | first,
    "index": index,
  }


def normalise_saliency(saliency: jax.Array, *, mode: str) -> jax.Array:
  """Scales the saliencies of an image so that the largest is 1.

  Args:
    saliency: [B, Q] float in (0, 1).
    mode: "max", "minmax" or "softmax".

  Returns:
    [B, Q] float32 in [0, 1].

  Raises:
    ValueError: unknown mode.
  """
  saliency = saliency.astype(jnp.float32)
  highest = saliency.max(axis=-1, keepdims=True)
  if mode == "max":
    return saliency / jnp.maximum(highest, _TINY)
  if mode == "minmax":
    lowest = saliency.min(axis=-1, keepdims=True)
    return 1.0 - (highest - saliency) / jnp.maximum(highest - lowest, _TINY)
  if mode == "softmax":
    return jnp.exp(saliency - highest)
  raise ValueError(
    f"unknown saliency normalisation {mode!r}; choose one of max, minmax, "
    "softmax"
  )
