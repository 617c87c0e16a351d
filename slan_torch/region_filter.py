"""The region filter of section 3.2.2.

Letters: B batch, Q proposals, T kept slots, D width.
"""

import torch
from torch import Tensor

_TINY = 1e-6


def select_regions(
  boxes: Tensor,
  states: Tensor,
  saliency: Tensor,
  *,
  top: int,
  threshold: float,
  normalise: str,
) -> dict[str, Tensor]:
  """Keeps at most T regions whose normalised saliency exceeds the threshold.

  Args:
    boxes: [B, Q, 4].
    states: [B, Q, D].
    saliency: [B, Q] in (0, 1).
    top: T.
    threshold: h, strict; the best region always survives.
    normalise: "max", "minmax" or "softmax".

  Returns:
    "boxes" [B, T, 4], "states" [B, T, D], "score" [B, T], "mask" [B, T] bool,
    "index" [B, T], by falling saliency, the lower index first among equals.
  """
  score, index = normalise_saliency(saliency.float(), normalise).sort(
    descending=True, stable=True
  )
  score, index = score[:, :top], index[:, :top]
  first = torch.arange(top, device=index.device) == 0

  def take(x: Tensor) -> Tensor:
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))

  return {
    "boxes": take(boxes),
    "states": take(states),
    "score": score,
    "mask": (score > threshold) | first,
    "index": index,
  }


def normalise_saliency(saliency: Tensor, mode: str) -> Tensor:
  """Scales the saliencies [B, Q] of an image so that the largest is 1."""
  highest = saliency.amax(-1, keepdim=True)
  if mode == "max":
    return saliency / highest.clamp(min=_TINY)
  if mode == "minmax":
    lowest = saliency.amin(-1, keepdim=True)
    return 1.0 - (highest - saliency) / (highest - lowest).clamp(min=_TINY)
  if mode == "softmax":
    return (saliency - highest).exp()
  raise ValueError(f"model.filter.normalise: unknown {mode!r}")
