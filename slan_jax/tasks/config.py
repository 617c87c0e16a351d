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
  reg_regions: str
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


@dataclasses.dataclass(frozen=True)
class Localisation:
  """Detection and grounding by boxes; `configs/base.py` explains it."""

  top: int
  threshold: float
  temperature: float
  nothing: float
  fit: bool
  cost_tokens: float
  cost_l1: float
  cost_giou: float
  tokens: float
  l1: float
  giou: float
  nothing_weight: float
  auxiliary: float


@dataclasses.dataclass(frozen=True)
class Detection:
  """Detection by prompt; `configs/base.py` explains it."""

  classes: tuple[str, ...]
  opening: str
  separator: str
  prompt_classes: int
  max_length: int
  boxes: int
  nms: float
  most: int


@dataclasses.dataclass(frozen=True)
class Grounding:
  """Sizes of grounding's training rows; `configs/base.py` explains it."""

  phrases: int
  boxes: int


@dataclasses.dataclass(frozen=True)
class Video:
  """Frames of a clip; `configs/base.py` explains it."""

  frames: int
  choice: str
