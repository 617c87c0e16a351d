"""SLAN (Figure 2): two encoders, the self-locator and the heads.

Axes: B images or pairs, Q proposals, R kept regions, N words, P phrases,
D width, E embedding, h w sides of a map.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from slan_torch import affinity, detection, grounding, word_map
from slan_torch.bert import BertDecoder, BertEncoder, LanguageHead
from slan_torch.checkpoint import Pretrained
from slan_torch.detector import Detector
from slan_torch.generation import Captioner
from slan_torch.layers import Linear32, l2_normalize
from slan_torch.locator import Located, Locator, box_position
from slan_torch.pyramid import Pyramid, interpolate
from slan_torch.reading import Reading, WordReading
from slan_torch.region_filter import select_regions
from slan_torch.resnet import ResNet
from slan_torch.roi_align import roi_align
from slan_torch.vit import Vit

Arrays = dict[str, Tensor]
# Bounds of what the losses learn, as training clips it, and where it starts.
_TEMPERATURE = (0.001, 0.5)
_PHRASE_SCALE = (1.0, 100.0)
_STARTS = {"temperature": 0.07, "phrase_scale": 10.0}


class ImageState(NamedTuple):
  """All that a text needs to know of an image.

  Attributes:
    proposals: boxes [B, Q, 4], saliency_logit [B, Q], states [B, Q, d].
    regions: after the filter: boxes [B, R, 4], embeddings [B, R, D], score
      and mask and index [B, R].
    pyramid: F_1..F_L, each [B, H_i, W_i, D].
    word_map: [B, h, w, E'] unit vectors, places behind them if configured, or
      None.
    affinity: [B, J, h, n, w, n] of `affinity.neighbour_weights`, or None.
    v: [B, h, w, D] global map. embedding: [B, E] unit v_cls for ITC.
  """

  proposals: Arrays
  regions: Arrays
  pyramid: tuple[Tensor, ...]
  word_map: Tensor | None
  affinity: Tensor | None
  v: Tensor
  embedding: Tensor


class TextState(NamedTuple):
  """All that an image needs to know of a text.

  Attributes:
    words: [B, N, D], E_0^T. mask: [B, N] bool, real tokens.
    phrases: vectors [B, P, E'], head and mask [B, P]; or None.
    embedding: [B, E] unit t_cls for ITC.
  """

  words: Tensor
  mask: Tensor
  phrases: Arrays | None
  embedding: Tensor


class PhraseMaps(NamedTuple):
  """Where phrases are, and how far they reach, for aligned images and texts.

  The last two are relative to a phrase's own map and to the other phrases, and
  pass no gradient.

  Attributes:
    cosine: [B, h, w, P] similarity of phrase and place.
    peak: [B, h, w, P] of the place itself.
    extent: [B, H, W, P] spread along the affinity.
  """

  cosine: Tensor
  peak: Tensor
  extent: Tensor


class SLANModel(Pretrained, Captioner, nn.Module):
  """The model; `SLANModel.from_pretrained(DIR)` reads an export."""

  def __init__(self, config):
    """Builds the modules.

    Args:
      config: of `slan_torch.config.read_config`.
    """
    super().__init__()
    self.config, cfg = config, config.model
    self.cfg, row = cfg, config.backbone
    if row.kind == "vit":
      self.backbone = Vit(row, cfg.image_size)
      channels = {row.patch: row.width}
    else:
      self.backbone = ResNet(row)
      channels = _resnet_channels(row)
    self.text = BertEncoder(cfg.text, cfg.width)
    self.pyramid = Pyramid(cfg.pyramid, cfg.width, channels)
    self.detector = Detector(cfg.detector, channels[max(channels)])
    self.locator = Locator(cfg)
    self.generator = BertDecoder(cfg.text, cfg.generator, cfg.width)
    self.language_head = LanguageHead(cfg.text.vocab_size, cfg.width)
    self.image_projection = Linear32(cfg.width, cfg.heads.embed_dim)
    self.text_projection = Linear32(cfg.width, cfg.heads.embed_dim)
    self.matching = Linear32(2 * cfg.width, 2)
    if cfg.filter.add_query:
      self.query_projection = nn.Linear(cfg.detector.width, cfg.width)
    if cfg.word_map.enabled:
      stride = cfg.word_map.stride
      self._low = min(channels, key=lambda s: (abs(s - stride), s))
      low = channels[self._low]
      self.word_map = word_map.WordMap(low, cfg.word_map.width)
      self.phrases = word_map.Phrases(cfg.word_map, cfg.width)
      channels, sharpness = cfg.word_map.width, cfg.word_map.read_sharpness
      if sharpness:
        self.region_reading = Reading(channels, cfg.width)
        self.word_reading = WordReading(channels, cfg.width, sharpness)
    if cfg.heads.evidence:
      self.evidence = Linear32(5, 2)
    # What the contrastive losses learn beside the model.
    self.objective = nn.ParameterDict(
      {
        name: nn.Parameter(torch.tensor(_STARTS[name]))
        for name in config.learned
      }
    )
    options = config.detection
    self.localisation = {
      name: getattr(options, name) for name in ("temperature", "nothing")
    }
    if options.learned:
      self.localisation = nn.ParameterDict(
        {k: nn.Parameter(torch.tensor(v)) for k, v in self.localisation.items()}
      )
    self.restore_constants()

  def restore_constants(self) -> None:
    """Makes the buffers that no file holds; a model of shapes needs it once."""
    for name in ("mean", "std"):
      value = torch.tensor(getattr(self.cfg, f"image_{name}"))
      self.register_buffer(f"_{name}", value[:, None, None], persistent=False)

  def encode_image(
    self,
    images: Tensor,
    *,
    top: int | None = None,
    threshold: float | None = None,
  ) -> ImageState:
    """Vision encoder, pyramid, detector and region filter (3.1, 3.2).

    Args:
      images: uint8 [B, S, S, 3] RGB, or float [B, 3, S, S] normalised with the
        mean and deviation of preprocessor_config.json.
      top: T, regions kept at most; None = the model's own.
      threshold: h of the filter; None = the model's own.
    """
    cfg, mean, std = self.cfg, self._mean.float(), self._std.float()
    if images.dtype == torch.uint8:
      pixels = images.permute(0, 3, 1, 2).float() / 255
      images = (pixels - mean) / std
    else:
      pixels = images.float() * std + mean
    maps, low = self._maps(images.to(self.image_dtype))
    v, pyramid = self.pyramid(maps)
    proposals = self.detector(maps[max(maps)])
    words = weights = None
    if cfg.word_map.enabled:
      words = self.word_map(low)
      if cfg.word_map.place_bound:
        words = word_map.with_places(words)
      weights = self._affinity(pixels, maps, low)
    cells = self._cells(words)
    regions = self._filter(proposals, v, cells, top, threshold)
    cls = _masked_mean(regions["embeddings"], regions["mask"])
    embedding = l2_normalize(self.image_projection(cls))
    return ImageState(proposals, regions, pyramid, words, weights, v, embedding)

  def _cells(self, words: Tensor | None) -> Tensor | None:
    """The word map as regions read it, [B, h, w, C], or None."""
    if words is None or not self.cfg.word_map.read_sharpness:
      return None
    return words[..., : self.cfg.word_map.width].detach()

  @property
  def image_dtype(self) -> torch.dtype:
    """The type that the model was moved to."""
    return self.matching.weight.dtype

  def _maps(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor | None]:
    """The backbone's maps by stride, and the low-level one of the word map."""
    if isinstance(self.backbone, Vit):
      return self.backbone(images)
    maps = self.backbone(images)
    return maps, maps[self._low] if self.cfg.word_map.enabled else None

  def _filter(
    self,
    proposals: Arrays,
    v: Tensor,
    cells: Tensor | None,
    top: int | None,
    threshold: float | None,
  ) -> Arrays:
    """Algorithm 1, line 2; E_0^G of the kept regions only."""
    cfg = self.cfg
    regions = select_regions(
      proposals["boxes"],
      proposals["states"],
      proposals["saliency_logit"].sigmoid(),
      top=cfg.filter.top if top is None else top,
      threshold=cfg.filter.threshold if threshold is None else threshold,
      normalise=cfg.filter.normalise,
    )
    boxes, states = regions["boxes"], regions.pop("states")
    place = boxes if cfg.adaptor.differentiable_boxes else boxes.detach()
    sizes = cfg.adaptor.roi_size, cfg.adaptor.sampling_ratio
    embedded = roi_align(v, place, *sizes).mean((2, 3))
    if cells is not None:
      read = roi_align(cells, place, *sizes).mean((2, 3))
      embedded = embedded + self.region_reading(read)
    if cfg.filter.add_query:
      embedded = embedded + self.query_projection(states)
    if cfg.filter.add_position:
      embedded = embedded + box_position(boxes, cfg.width).to(embedded.dtype)
    weight = regions["score"]
    weight = weight if cfg.filter.saliency_gradient else weight.detach()
    return {**regions, "embeddings": embedded * weight[..., None].to(v.dtype)}

  def _affinity(
    self, pixels: Tensor, maps: dict[int, Tensor], low: Tensor
  ) -> Tensor | None:
    """Which cells of the word map each finer cell belongs to."""
    cfg, side = self.cfg.word_map, low.shape[1]
    if cfg.affinity == "none":
      return None
    cue = 2 * pixels.permute(0, 2, 3, 1) - 1
    if cfg.affinity == "features":
      finest = maps[min(maps)]
      cue = l2_normalize((finest if finest.shape[1] > side else low).detach())
    return affinity.neighbour_weights(
      interpolate(cue, side * cfg.affinity_upsample),
      interpolate(cue, side),
      window=cfg.affinity_window,
      scale=cfg.affinity_scale,
      distance=cfg.affinity_distance,
    )

  def encode_text(
    self, ids: Tensor, mask: Tensor, *, phrases: int | None = None
  ) -> TextState:
    """Text encoder (3.1).

    Args:
      ids: [B, N].
      mask: bool [B, N], real tokens.
      phrases: P, phrases read at most; None = the model's own.
    """
    mask = mask.bool()
    words = self.text(ids, mask)
    embedding = l2_normalize(self.text_projection(words[:, 0]))
    read = self.encode_phrases(ids, mask, phrases)
    return TextState(words, mask, read, embedding)

  def encode_phrases(
    self, ids: Tensor, mask: Tensor, most: int | None = None
  ) -> Arrays | None:
    """Phrase vectors from static words alone, or None when switched off."""
    if not self.cfg.word_map.enabled:
      return None
    content = word_map.content_tokens(ids, mask, self.cfg.text.function_ids)
    inner = word_map.inner_tokens(mask)
    return self.phrases(self.text.embeddings.word(ids), content, inner, most)

  def phrase_cosine(self, image: ImageState, text: TextState) -> Tensor:
    """Similarity of aligned images and phrases: [B, h, w, P]."""
    vectors = text.phrases["vectors"]
    return torch.einsum("bhwd,bpd->bhwp", image.word_map, vectors)

  def phrase_maps(self, image: ImageState, text: TextState) -> PhraseMaps:
    """Similarity of aligned images and phrases at every place."""
    cfg, cosine = self.cfg.word_map, self.phrase_cosine(image, text)
    slope, cells = None, cosine.detach()
    if cfg.place_bound:
      slope = text.phrases["vectors"][..., cfg.width :].detach()
      grid = word_map.places(*cosine.shape[1:3], cosine.device)
      cells = cells - torch.einsum("hwc,bpc->bhwp", grid, slope)

    def compared(maps: Tensor) -> Tensor:
      maps = word_map.relative(maps, cells, slope)
      return word_map.compete(maps, text.phrases["mask"], cfg.competition)

    peak = extent = compared(cells)
    if image.affinity is not None:
      extent = compared(affinity.spread(cells, image.affinity))
    return PhraseMaps(cosine, peak, extent)

  def locate(self, image: ImageState, text: TextState) -> Located:
    """Algorithm 1, lines 3 to 14, for aligned images and texts."""
    maps, words, cells = None, text.words, self._cells(image.word_map)
    if text.phrases is not None:
      found = self.phrase_maps(image, text)
      maps = found.extent, text.phrases["mask"]
      if cells is not None:
        words = words + self.word_reading(
          cells, found.cosine, found.peak, text.phrases, words.shape[1]
        )
    return self.locator(
      image.regions,
      words,
      text.mask,
      word_map.sought_tokens(text.mask, self.cfg.adaptor.words),
      image.pyramid,
      maps,
      cells,
    )

  def box_fit(
    self, image: ImageState, text: TextState, boxes: Tensor
  ) -> Tensor:
    """How well boxes fit each phrase's map: [B, R, 4] -> [B, R, P].

    Soft IoU with the extent, times the share of the peak inside.
    """
    cfg, maps = self.cfg.adaptor, self.phrase_maps(image, text)
    extent = (maps.extent - cfg.extent_threshold) / cfg.extent_softness
    fit = word_map.soft_iou(extent.sigmoid(), boxes)
    sharpness = self.cfg.word_map.peak_sharpness
    if not sharpness:
      return fit
    return fit * word_map.peak_share(maps.peak, boxes, sharpness)

  def match(
    self, image: ImageState, text: TextState, located: Located
  ) -> Tensor:
    """ITM logits of Eq. 4 from cat(v_cls, t_cls): [B, 2] float32."""
    pooled = located.regions
    if self.cfg.heads.matching_regions == "filtered":
      pooled = image.regions["embeddings"]
    v_cls = _masked_mean(pooled, image.regions["mask"])
    t_cls = located.words[:, 0].float()
    logits = self.matching(torch.cat([v_cls, t_cls], -1))
    if self.cfg.heads.evidence:
      evidence = self._evidence(image, text, located).detach()
      logits = logits + self.evidence(evidence)
    return logits

  def _evidence(
    self, image: ImageState, text: TextState, located: Located
  ) -> Tensor:
    """How well each phrase is found, on the map and in a region: [B, 5]."""
    raw = self.phrase_cosine(image, text)
    mask = text.phrases["mask"]
    on_map = raw.amax((1, 2))
    samples = self.cfg.adaptor.roi_size
    in_region = roi_align(raw, located.boxes[:, -1], 1, samples)[:, :, 0, 0]
    kept = image.regions["mask"][..., None]
    in_region = in_region.masked_fill(~kept, -1.0).amax(1)
    cosine = (image.embedding * text.embedding).sum(-1)
    found = _mean_and_min(on_map, mask) + _mean_and_min(in_region, mask)
    return 10 * torch.stack([*found, cosine], -1)

  def itc(self, images: ImageState, texts: TextState) -> Tensor:
    """Cosine of every image with every text: [I, T]."""
    return images.embedding @ texts.embedding.T

  def contrast(self, images: ImageState, texts: TextState) -> Tensor:
    """ITC logits, cosine over the learned temperature (Eq. 5): [I, T]."""
    tau = self.objective["temperature"].clamp(*_TEMPERATURE)
    return self.itc(images, texts) / tau

  def phrase_similarity(self, images: ImageState, texts: TextState) -> Tensor:
    """Mean over phrases of the best place on the word map: [I, T]."""
    maps, phrases = images.word_map.flatten(1, 2), texts.phrases
    peak = torch.einsum("imd,tpd->itpm", maps, phrases["vectors"]).amax(-1)
    weight = phrases["mask"].float()
    total = torch.einsum("itp,tp->it", peak, weight)
    return total / weight.sum(-1).clamp(min=1.0)

  def phrase_contrast(self, images: ImageState, texts: TextState) -> Tensor:
    """Logits of the phrase contrast, by the learned scale: [I, T]."""
    scale = self.objective["phrase_scale"].clamp(*_PHRASE_SCALE)
    return self.phrase_similarity(images, texts) * scale

  def itm(self, images: ImageState, texts: TextState) -> Tensor:
    """Log odds that aligned pairs match: [B]."""
    logits = self.match(images, texts, self.locate(images, texts))
    return logits[:, 1] - logits[:, 0]

  @property
  def box_regions(self) -> dict[str, float]:
    """What `encode_image` keeps for boxes: `top` and `threshold`."""
    options = self.config.detection
    top = options.top or self.cfg.detector.queries
    return {"top": top, "threshold": options.threshold}

  def ground(
    self, image: Tensor | ImageState, ids: Tensor, mask: Tensor
  ) -> Arrays:
    """Locates a caption's words; see `slan_torch.grounding.ground`."""
    return grounding.ground(self, image, ids, mask)

  def detect(self, images: Tensor, prompts: detection.Prompts) -> Arrays:
    """Looks for classes; see `slan_torch.detection.detect`."""
    return detection.detect(self, images, prompts)

  def predict_words(self, words: Tensor) -> Tensor:
    """Vocabulary logits of fused words (Eq. 7): [B, N, V] float32."""
    return self.language_head(words, self.text.embeddings.word.weight)

  def generate(
    self, ids: Tensor, mask: Tensor, states: Tensor, states_mask: Tensor
  ) -> Tensor:
    """Next-token logits of the text decoder: [B, N, V] float32."""
    words = self.generator(ids, mask.bool(), states, states_mask)
    return self.language_head(words, self.generator.embeddings.word.weight)

  def forward(self, images: Tensor, ids: Tensor, mask: Tensor) -> Arrays:
    """What the pre-training losses need, for aligned images and texts.

    Returns:
      image_embedding and text_embedding [B, E]; itm_logits [B, 2]; boxes
      [B, L + 1, R, 4] and region_mask [B, R]; word_logits [B, N, V], of the
      fused words; caption_logits [B, N, V], of the next tokens.
    """
    image, text = self.encode_image(images), self.encode_text(ids, mask)
    located = self.locate(image, text)
    states = self.caption_states(image, located.regions)
    return {
      "image_embedding": image.embedding,
      "text_embedding": text.embedding,
      "itm_logits": self.match(image, text, located),
      "boxes": located.boxes,
      "region_mask": image.regions["mask"],
      "word_logits": self.predict_words(located.words),
      "caption_logits": self.generate(ids, mask, *states),
    }


def _resnet_channels(row) -> dict[int, int]:
  """Stride -> channels of the maps of a residual network."""
  channels, stride = {2: row.stem_width}, 2
  if row.stem == "imagenet":
    stride = 4
  for i, width in enumerate(row.widths):
    stride *= 2 if i else row.first_stride
    channels[stride] = width
  return channels


def _masked_mean(x: Tensor, mask: Tensor) -> Tensor:
  """Mean over the kept regions, float32: [B, R, D] -> [B, D]."""
  weight = mask.float()[..., None]
  return (x.float() * weight).sum(1) / weight.sum(1).clamp(min=1.0)


def _mean_and_min(score: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
  weight = mask.float()
  mean = (score * weight).sum(-1) / weight.sum(-1).clamp(min=1.0)
  return mean, score.masked_fill(~mask, 1.0).amin(-1)
