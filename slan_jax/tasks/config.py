"""Switches of the pre-training task, as frozen dataclasses.

No field has a default: every value, with its meaning, stands once in
`configs/base.py`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Objective:
  """Weights and switches of the losses; `configs/base.py` explains them."""

  itc: float
  itm: float
  mlm: float
  lm: float
  reg: float
  phrase: float
  saliency: float
  unimodal_fraction: float
  queue_size: int
  momentum: bool
  temperature: float
  soft_targets: float
  image_targets: bool
  mask_rate: float
  lm_smoothing: float
  reg_l1: float
  reg_giou: float
  reg_stop_gradient: bool
  reg_confirmed: bool
  reg_max_shift: float
  swapped_words: bool
  phrase_sharpness: float


@dataclasses.dataclass(frozen=True)
class Batch:
  """Shape of a global batch, and the ids that masking needs."""

  size: int
  max_length: int
  hard_negatives: int
  mask_id: int
  microbatches: int
