"""SLAN (Figure 2): two encoders, the self-locator and the heads.

Axes: B images or pairs, Q proposals, R kept regions, N words, P phrases,
D width, E embedding, h w sides of a map.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from slan_jax.models import affinity, config, word_map
from slan_jax.models.bert import (
  BertDecoder,
  BertEncoder,
  Cache,
  LanguageHead,
)
from slan_jax.models.detector import Detector
from slan_jax.models.layers import l2_normalize
from slan_jax.models.locator import Located, Locator, box_position
from slan_jax.models.pyramid import Pyramid
from slan_jax.models.reading import Reading, WordReading
from slan_jax.models.resnet import ResNet
from slan_jax.models.vit import Vit
from slan_jax.ops.roi_align import roi_align, roi_mean
from slan_jax.ops.select import select_regions

Arrays = dict[str, jax.Array]


class ImageState(NamedTuple):
  """All that a text needs to know of an image.

  Attributes:
    proposals: boxes [B, Q, 4], saliency_logit [B, Q], states [B, Q, d].
    regions: after the filter: boxes [B, R, 4], embeddings [B, R, D], score
      and mask and index [B, R].
    pyramid: F_1..F_L.
    word_map: [B, h, w, E'] unit vectors, places behind them if configured, or
      None.
    affinity: [B, J, h, n, w, n] of `affinity.neighbour_weights`, or None.
    v: [B, h, w, D] global map. embedding: [B, E] unit v_cls for ITC.
  """

  proposals: Arrays
  regions: Arrays
  pyramid: tuple[jax.Array, ...]
  word_map: jax.Array | None
  affinity: jax.Array | None
  v: jax.Array
  embedding: jax.Array


class TextState(NamedTuple):
  """All that an image needs to know of a text.

  Attributes:
    words: [B, N, D], E_0^T. mask: [B, N] bool, real tokens.
    phrases: vectors [B, P, E'], head and mask [B, P]; or None.
    embedding: [B, E] unit t_cls for ITC.
  """

  words: jax.Array
  mask: jax.Array
  phrases: Arrays | None
  embedding: jax.Array


class PhraseMaps(NamedTuple):
  """Where phrases are, and how far they reach, for aligned images and texts.

  The last two are relative to a phrase's own map and to the other phrases, and
  pass no gradient: contrast decides where a phrase is, not where regions went.

  Attributes:
    cosine: [B, h, w, P] similarity of phrase and place.
    peak: [B, h, w, P] of the place itself, which tells one object from another.
    extent: [B, H, W, P] spread along the affinity, which fills an object and
      runs into what touches it and looks alike.
  """

  cosine: jax.Array
  peak: jax.Array
  extent: jax.Array


class Slan(nn.Module):
  """The model; every method is reached by `apply(..., method=...)`."""

  cfg: config.Slan

  def setup(self) -> None:
    cfg, dtype = self.cfg, jnp.dtype(self.cfg.compute_dtype)
    row = cfg.backbone.row
    if isinstance(row, config.VitRow):
      self.backbone = Vit(row, cfg.image_size, dtype, cfg.remat)
    else:
      self.backbone = ResNet(row, dtype, cfg.remat)
    self.text = BertEncoder(cfg.text, cfg.width, dtype, cfg.remat)
    self.pyramid = Pyramid(cfg.pyramid, cfg.width, dtype, cfg.remat)
    self.detector = Detector(cfg.detector, dtype, cfg.remat)
    self.locator = Locator(cfg, dtype)
    self.generator = BertDecoder(
      cfg.text, cfg.generator, cfg.width, dtype, cfg.remat
    )
    self.language_head = LanguageHead(dtype)
    self.image_projection = nn.Dense(cfg.heads.embed_dim, dtype=jnp.float32)
    self.text_projection = nn.Dense(cfg.heads.embed_dim, dtype=jnp.float32)
    self.matching = nn.Dense(2, dtype=jnp.float32)
    if cfg.filter.add_query:
      self.query_projection = nn.Dense(cfg.width, dtype=dtype)
    if cfg.word_map.enabled:
      self.word_map = word_map.WordMap(cfg.word_map.width, dtype)
      self.phrases = word_map.Phrases(cfg.word_map, dtype)
      if cfg.word_map.read_sharpness:
        self.region_reading = Reading(cfg.width, dtype)
        self.word_reading = WordReading(
          cfg.width, cfg.word_map.read_sharpness, dtype
        )
    if cfg.heads.evidence:
      # From zero: the evidence joins a head that has begun to learn.
      self.evidence = nn.Dense(
        2, dtype=jnp.float32, kernel_init=nn.initializers.zeros
      )

  def encode_image(self, image: jax.Array) -> ImageState:
    """Vision encoder, pyramid, detector and region filter (3.1, 3.2).

    Args:
      image: uint8 [B, S, S, 3] RGB.

    Returns:
      `ImageState`.
    """
    cfg = self.cfg
    pixels = image.astype(jnp.float32) / 255
    maps, low = self._maps(self._normalised(pixels))
    v, pyramid = self.pyramid(maps)
    proposals = self.detector(maps[max(maps)])
    words = weights = None
    if cfg.word_map.enabled:
      words = self.word_map(low)
      if cfg.word_map.place_bound:
        words = word_map.with_places(words)
      weights = self._affinity(pixels, maps, low)
    regions = self._filter(proposals, v, self._cells(words))
    return ImageState(
      proposals=proposals,
      regions=regions,
      pyramid=pyramid,
      word_map=words,
      affinity=weights,
      v=v,
      embedding=self._embedding(regions),
    )

  def embed_image(self, image: jax.Array) -> jax.Array:
    """As `encode_image`, but only its `embedding`: no pyramid is made."""
    maps, low = self._maps(self._normalised(image.astype(jnp.float32) / 255))
    v, _ = self.pyramid(maps, levels=False)
    cells = None
    if self.cfg.word_map.enabled and self.cfg.word_map.read_sharpness:
      cells = self._cells(self.word_map(low))
    regions = self._filter(self.detector(maps[max(maps)]), v, cells)
    return self._embedding(regions)

  def _cells(self, words: jax.Array | None) -> jax.Array | None:
    """The word map as regions read it, [B, h, w, C], or None."""
    if words is None or not self.cfg.word_map.read_sharpness:
      return None
    return _stop(words[..., : self.cfg.word_map.width])

  def _normalised(self, pixels: jax.Array) -> jax.Array:
    mean, std = (
      jnp.asarray(values)[None, None, None]
      for values in (self.cfg.image_mean, self.cfg.image_std)
    )
    return (pixels - mean) / std

  def _embedding(self, regions: Arrays) -> jax.Array:
    """Unit v_cls of the kept regions: [B, E]."""
    weight = regions["mask"].astype(jnp.float32)[..., None]
    kept = regions["embeddings"].astype(jnp.float32) * weight
    cls = jnp.sum(kept, 1) / jnp.maximum(jnp.sum(weight, 1), 1.0)
    return l2_normalize(self.image_projection(cls))

  def _maps(self, image: jax.Array) -> tuple[dict[int, jax.Array], jax.Array]:
    """The backbone's maps by stride, and the low-level one of the word map."""
    cfg = self.cfg
    if isinstance(cfg.backbone.row, config.VitRow) and cfg.word_map.enabled:
      return self.backbone(image, middle=True)
    maps = self.backbone(image)
    nearest = min(maps, key=lambda s: (abs(s - cfg.word_map.stride), s))
    return maps, maps[nearest]

  def _filter(
    self, proposals: Arrays, v: jax.Array, cells: jax.Array | None
  ) -> Arrays:
    """Algorithm 1, line 2; E_0^G of the kept regions only."""
    cfg = self.cfg
    regions = select_regions(
      proposals["boxes"],
      proposals["states"],
      jax.nn.sigmoid(proposals["saliency_logit"]),
      top=cfg.filter.top,
      threshold=cfg.filter.threshold,
      normalise=cfg.filter.normalise,
    )
    boxes = regions["boxes"]
    place = boxes if cfg.adaptor.differentiable_boxes else _stop(boxes)
    samples = cfg.adaptor.roi_size * cfg.adaptor.sampling_ratio
    embedded = roi_mean(v, place, samples=samples)
    if cells is not None:
      embedded += self.region_reading(roi_mean(cells, place, samples=samples))
    if cfg.filter.add_query:
      embedded += self.query_projection(regions["embeddings"])
    if cfg.filter.add_position:
      embedded += box_position(boxes, cfg.width).astype(embedded.dtype)
    score = regions["score"]
    weight = score if cfg.filter.saliency_gradient else _stop(score)
    weighted = embedded * weight[..., None].astype(embedded.dtype)
    return {**regions, "embeddings": weighted}

  def _affinity(
    self, pixels: jax.Array, maps: dict[int, jax.Array], low: jax.Array
  ) -> jax.Array | None:
    """Which cells of the word map each finer cell belongs to."""
    cfg, side = self.cfg.word_map, low.shape[1]
    if cfg.affinity == "none":
      return None
    cue = 2 * pixels - 1
    if cfg.affinity == "features":
      finest = maps[min(maps)]
      finer = finest.shape[1] > side
      cue = l2_normalize(_stop(finest if finer else low))
    return affinity.neighbour_weights(
      affinity.look(cue, side * cfg.affinity_upsample),
      affinity.look(cue, side),
      window=cfg.affinity_window,
      scale=cfg.affinity_scale,
      distance=cfg.affinity_distance,
    )

  def encode_text(self, ids: jax.Array, mask: jax.Array) -> TextState:
    """Text encoder (3.1).

    Args:
      ids: [B, N] int32. mask: [B, N] bool, real tokens.

    Returns:
      `TextState`.
    """
    words = self.text(ids, mask)
    return TextState(
      words=words,
      mask=mask,
      phrases=self.encode_phrases(ids, mask),
      embedding=self._text_embedding(words),
    )

  def embed_text(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
    """As `encode_text`, but only its `embedding`."""
    return self._text_embedding(self.text(ids, mask))

  def _text_embedding(self, words: jax.Array) -> jax.Array:
    return l2_normalize(self.text_projection(words[:, 0].astype(jnp.float32)))

  def encode_phrases(self, ids: jax.Array, mask: jax.Array) -> Arrays | None:
    """Phrase vectors from static words alone, or None when switched off."""
    if not self.cfg.word_map.enabled:
      return None
    content = word_map.content_tokens(ids, mask, self.cfg.text.function_ids)
    inner = word_map.inner_tokens(mask)
    return self.phrases(self.text.table()[ids], content, inner)

  def phrase_maps(self, image: ImageState, text: TextState) -> PhraseMaps:
    """Similarity of aligned images and phrases at every place."""
    cfg, cosine = self.cfg.word_map, _phrase_cosine(image, text)
    slope, cells = None, _stop(cosine)
    if cfg.place_bound:
      slope = _stop(text.phrases["vectors"][..., cfg.width :])
      grid = word_map.places(*cosine.shape[1:3])
      cells -= jnp.einsum("hwc,bpc->bhwp", grid, slope)

    def compared(maps: jax.Array) -> jax.Array:
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
        words += self.word_reading(
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
    self, image: ImageState, text: TextState, boxes: jax.Array
  ) -> jax.Array:
    """How well boxes fit each phrase's map: [B, R, 4] -> [B, R, P].

    Soft IoU with the extent, times the share of the peak inside, so that a
    region on a half right object does not win by its outline.
    """
    cfg, maps = self.cfg.adaptor, self.phrase_maps(image, text)
    extent = jax.nn.sigmoid(
      (maps.extent - cfg.extent_threshold) / cfg.extent_softness
    )
    fit = word_map.soft_iou(extent, boxes)
    sharpness = self.cfg.word_map.peak_sharpness
    if not sharpness:
      return fit
    return fit * word_map.peak_share(maps.peak, boxes, sharpness)

  def match(
    self, image: ImageState, text: TextState, located: Located
  ) -> jax.Array:
    """ITM logits of Eq. 4 from cat(v_cls, t_cls): [B, 2] float32."""
    pooled = {
      "adapted": located.regions,
      "filtered": image.regions["embeddings"],
    }[self.cfg.heads.matching_regions]
    weight = image.regions["mask"].astype(jnp.float32)[..., None]
    v_cls = jnp.sum(pooled.astype(jnp.float32) * weight, axis=1)
    v_cls /= jnp.maximum(jnp.sum(weight, axis=1), 1.0)
    t_cls = located.words[:, 0].astype(jnp.float32)
    logits = self.matching(jnp.concatenate([v_cls, t_cls], axis=-1))
    if self.cfg.heads.evidence:
      logits += self.evidence(_stop(self._evidence(image, text, located)))
    return logits

  def _evidence(
    self, image: ImageState, text: TextState, located: Located
  ) -> jax.Array:
    """How well each phrase is found, on the map and in a region: [B, 5]."""
    raw, mask = _phrase_cosine(image, text), text.phrases["mask"]
    on_map = jnp.max(raw, axis=(1, 2))
    in_region = roi_align(
      raw,
      located.boxes[:, -1],
      output_size=1,
      sampling_ratio=self.cfg.adaptor.roi_size,
    )[:, :, 0, 0]
    kept = image.regions["mask"][..., None]
    in_region = jnp.max(jnp.where(kept, in_region, -1.0), axis=1)
    cosine = jnp.sum(image.embedding * text.embedding, axis=-1)
    return 10 * jnp.stack(
      [*_mean_and_min(on_map, mask), *_mean_and_min(in_region, mask), cosine],
      axis=-1,
    )

  def predict_words(self, words: jax.Array) -> jax.Array:
    """Vocabulary logits of fused words (Eq. 7): [B, N, V] float32."""
    return self.language_head(words, self.text.table())

  def generate(
    self,
    ids: jax.Array,
    mask: jax.Array,
    states: jax.Array,
    states_mask: jax.Array,
  ) -> jax.Array:
    """Next-token logits of the text decoder: [B, N, V] float32."""
    words = self.generator(ids, mask, states, states_mask)
    return self.language_head(words, self.generator.table())

  def start_text(
    self,
    ids: jax.Array,
    states: jax.Array,
    states_mask: jax.Array,
    *,
    longest: int,
  ) -> tuple[jax.Array, Cache]:
    """Reads a prompt [B, N] as `BertDecoder.start`: [B, N, V] and a cache."""
    words, cache = self.generator.start(
      ids, states, states_mask, longest=longest
    )
    return self.language_head(words, self.generator.table()), cache

  def next_text(self, ids: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Logits after each of the next tokens [B, N]: [B, N, V] and the cache."""
    words, cache = self.generator.step(ids, cache)
    return self.language_head(words, self.generator.table()), cache

  def __call__(
    self, image: jax.Array, ids: jax.Array, mask: jax.Array
  ) -> jax.Array:
    """Touches every parameter, for initialisation; returns ITM logits."""
    image_state = self.encode_image(image)
    text = self.encode_text(ids, mask)
    located = self.locate(image_state, text)
    self.predict_words(located.words)
    kept = image_state.regions["mask"]
    self.generate(ids, mask, located.regions, kept)
    return self.match(image_state, text, located)


def _phrase_cosine(image: ImageState, text: TextState) -> jax.Array:
  """Similarity of aligned images and phrases: [B, h, w, P]."""
  vectors = text.phrases["vectors"]
  return jnp.einsum("bhwd,bpd->bhwp", image.word_map, vectors)


def _mean_and_min(
  score: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
  weight = mask.astype(jnp.float32)
  mean = jnp.sum(score * weight, -1) / jnp.maximum(jnp.sum(weight, -1), 1.0)
  least = jnp.min(jnp.where(mask, score, 1.0), axis=-1)
  return mean, least


_stop = jax.lax.stop_gradient
