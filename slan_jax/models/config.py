"""Shapes and switches of the model, as frozen dataclasses.

No field has a default: every value, with its meaning, unit and the paper's
word or silence on it, stands once in `configs/base.py`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ResNetRow:
  """A row of `BACKBONES`: a residual network.

  Attributes:
    stem: "imagenet" (7x7/2 and a 3x3/2 max pool) or "patch" (4x4/2 only).
    stem_width: channels after the stem.
    block: "bottleneck" or "basic".
    widths: output channels of each stage.
    depths: residual blocks of each stage.
    first_stride: stride of the first stage (1 after the ImageNet stem).
    norm: "group", "layer" (channels only) or "frozen_batch" (imported).
  """

  stem: str
  stem_width: int
  block: str
  widths: tuple[int, ...]
  depths: tuple[int, ...]
  first_stride: int
  norm: str

  @property
  def stride(self) -> int:
    """Pixels per cell of the last map."""
    stem = 4 if self.stem == "imagenet" else 2
    return stem * self.first_stride * 2 ** (len(self.widths) - 1)


@dataclasses.dataclass(frozen=True)
class VitRow:
  """A row of `BACKBONES`: a vision transformer (pre-LN, learned positions).

  Attributes:
    patch: side of a patch in pixels.
    width: channels of a token.
    layers: transformer blocks.
    heads: attention heads.
    mlp_width: hidden channels of the feed-forward blocks.
    middle_layer: block whose tokens serve as the low-level map.
  """

  patch: int
  width: int
  layers: int
  heads: int
  mlp_width: int
  middle_layer: int

  @property
  def stride(self) -> int:
    """Pixels per cell of the last map."""
    return self.patch


# The paper's four vision encoders (section 4.1) and small ones of each kind:
# resnet_tiny8 sees 128 pixels on the grids on which resnet_tiny sees 64.
BACKBONES: dict[str, ResNetRow | VitRow] = {
  "resnet50": ResNetRow(
    "imagenet", 64, "bottleneck", (256, 512, 1024, 2048), (3, 4, 6, 3), 1,
    "group",
  ),
  "vit_b": VitRow(16, 768, 12, 12, 3072, 4),
  "vit_l": VitRow(16, 1024, 24, 16, 4096, 8),
  "vit_h": VitRow(14, 1280, 32, 16, 5120, 10),
  "resnet_tiny": ResNetRow("patch", 24, "basic", (48, 96), (3, 1), 2, "layer"),
  "resnet_tiny8": ResNetRow("patch", 24, "basic", (48, 96), (3, 1), 4, "layer"),
  "vit_tiny": VitRow(8, 64, 4, 4, 256, 2),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Backbone:
  """Vision encoder: a row of `BACKBONES` and the norm of its residual nets."""

  name: str
  norm: str

  @property
  def row(self) -> ResNetRow | VitRow:
    """The chosen row, with `norm` put in for residual networks.

    Raises:
      ValueError: no such row.
    """
    if self.name not in BACKBONES:
      raise ValueError(
        f"model.backbone.name: unknown backbone {self.name!r}; choose one of "
        f"{', '.join(BACKBONES)}"
      )
    row = BACKBONES[self.name]
    if isinstance(row, ResNetRow) and self.norm != "default":
      row = dataclasses.replace(row, norm=self.norm)
    return row


@dataclasses.dataclass(frozen=True)
class Text:
  """BERT encoder (section 3.1)."""

  vocab_size: int
  layers: int
  heads: int
  mlp_width: int
  max_positions: int
  function_ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Generator:
  """BERT-shaped text decoder with cross attention (captioning, VQA)."""

  layers: int
  heads: int
  mlp_width: int


@dataclasses.dataclass(frozen=True)
class Pyramid:
  """Multi-scale maps F_1..F_L (section 3.2.1, Table 10)."""

  source: str
  scales: tuple[int, ...]  # resolution of each level relative to V's
  convs: int


@dataclasses.dataclass(frozen=True)
class Detector:
  """DETR head whose class prediction became a saliency (section 3.2)."""

  encoder_layers: int
  decoder_layers: int
  width: int
  heads: int
  mlp_width: int
  queries: int
  reference: str
  reference_size: float


@dataclasses.dataclass(frozen=True)
class Filter:
  """Region filter (section 3.2.2, Table 6)."""

  top: int
  threshold: float
  normalise: str
  saliency_gradient: bool
  add_query: bool
  add_position: bool


@dataclasses.dataclass(frozen=True)
class Adaptor:
  """Region adaptor, Algorithm 1 (section 3.2.3)."""

  levels: int
  grid: int
  windows: tuple[float, ...]
  window_units: tuple[str, ...]
  window_bounds: tuple[float, float]
  roi_size: int
  sampling_ratio: int
  order: str
  words: str
  similarity: str
  temperature: float
  swap_axes: bool
  pitch: str
  size: str
  clip_boxes: bool
  min_size: float
  differentiable_boxes: bool
  fusion: str
  heads: int
  refine: str
  assignment: str
  extent_threshold: float
  extent_softness: float
  move_threshold: float
  centre_decay: float


@dataclasses.dataclass(frozen=True)
class WordMap:
  """Addition to the paper: phrases matched on a low-level feature map."""

  enabled: bool
  width: int
  stride: int
  phrases: int
  phrase_window: int
  place_bound: float
  affinity: str
  affinity_scale: float
  affinity_distance: float
  affinity_window: int
  affinity_upsample: int
  competition: float
  peak_sharpness: float
  read_sharpness: float


@dataclasses.dataclass(frozen=True)
class Heads:
  """Heads of the pre-training losses (section 3.3)."""

  embed_dim: int
  matching_regions: str
  evidence: bool


@dataclasses.dataclass(frozen=True)
class Slan:
  """The whole model; `width` is the paper's D."""

  width: int
  image_size: int
  image_mean: tuple[float, float, float]
  image_std: tuple[float, float, float]
  compute_dtype: str
  remat: str
  backbone: Backbone
  text: Text
  generator: Generator
  pyramid: Pyramid
  detector: Detector
  filter: Filter
  adaptor: Adaptor
  word_map: WordMap
  heads: Heads
