"""Switches of the tasks, as frozen dataclasses.

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
  hard_images: bool
  negative_pool: int
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


@dataclasses.dataclass(frozen=True)
class Marks:
  """Token ids that the text decoder knows the meaning of."""

  pad: int
  unk: int
  cls: int
  sep: int
  mask: int


@dataclasses.dataclass(frozen=True)
class Writing:
  """How texts are written; `configs/base.py` explains the fields."""

  search: str
  beams: int
  top_p: float
  shortest: int
  longest: int
  repetition_penalty: float

  def __post_init__(self):
    if self.search not in ("beam", "nucleus"):
      raise ValueError(f"search is {self.search!r}; expected beam or nucleus")
    if not 0 < self.top_p <= 1:
      raise ValueError(f"top_p is {self.top_p}; expected 0 < p <= 1")
    if self.beams < 1 or not 0 <= self.shortest <= self.longest:
      raise ValueError(
        f"beams={self.beams}, shortest={self.shortest}, longest="
        f"{self.longest}: expected 1 or more beams and 0 <= shortest <= longest"
      )
    if self.longest < 1 or self.repetition_penalty <= 0:
      raise ValueError(
        f"longest={self.longest}, repetition_penalty="
        f"{self.repetition_penalty}: expected 1 or more, and above 0"
      )


# Fields of `Writing` that only one way of searching reads.
READ_BY = {"beams": "beam", "top_p": "nucleus"}


@dataclasses.dataclass(frozen=True)
class Captioning:
  """Fine-tuned captioning (section 4.2.2)."""

  prompt: str
  smoothing: float
  write: Writing


@dataclasses.dataclass(frozen=True)
class Vqa:
  """Visual question answering (section 4.2.3)."""

  answers: int
  answer_length: int
  smoothing: float
  inference: str
  rank_first: int
  rank_chunk: int
  write: Writing

  def __post_init__(self):
    if self.inference not in ("rank", "generate"):
      raise ValueError(
        f"vqa.inference is {self.inference!r}; expected rank or generate"
      )
    for name in ("answers", "rank_first", "rank_chunk"):
      if getattr(self, name) < 1:
        raise ValueError(f"vqa.{name} must be at least 1")
