"""Detection by prompt (section 4.2.6): regions and scores of every class.

Axes: B images, Q proposals, R regions, K prompts, C classes of a prompt,
N tokens, P phrases.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from slan_torch.layers import l2_normalize
from slan_torch.roi_align import roi_align
from slan_torch.word_map import content_tokens, inner_tokens, phrase_heads

_TEMPERATURE = (0.01, 1.0)  # bounds of what detection learns
_TINY = 1e-9


class Prompts(NamedTuple):
  """Class names as texts; every class stands in one of them.

  Attributes:
    names: the classes.
    ids: [K, N]. mask: bool [K, N], real tokens.
    class_tokens: bool [K, C, N], tokens of each class.
    classes: [K, C], its place among `names`; -1 = no class.
  """

  names: tuple[str, ...]
  ids: Tensor
  mask: Tensor
  class_tokens: Tensor
  classes: Tensor


def detect(model, images: Tensor, prompts: Prompts) -> dict[str, Tensor]:
  """Looks for every class in every image.

  Args:
    model: `SLANModel`.
    images: as `SLANModel.encode_image` takes them.
    prompts: of `Processor.prompts`.

  Returns:
    boxes [B, K * R, 4] xyxy in [0, 1]; scores [B, K * R, C] in [0, 1]:
    saliency times the mean over a class's tokens, -1 where there is no class
    or a better region of it overlaps; classes [K * R, C], as in `prompts`.
  """
  options = model.config.detection
  top = options.top or model.cfg.detector.queries
  image = model.encode_image(images, top=top, threshold=options.threshold)
  found = [
    _detect_one(model, image, options, *(part[row] for part in prompts[1:4]))
    for row in range(len(prompts.ids))
  ]
  boxes, scores = (torch.cat(part, 1) for part in zip(*found))
  classes = prompts.classes.repeat_interleave(top, 0)
  return {
    "boxes": boxes,
    "scores": scores.masked_fill(classes < 0, -1.0),
    "classes": classes,
  }


def _detect_one(
  model, image, options, ids: Tensor, mask: Tensor, class_tokens: Tensor
) -> tuple[Tensor, Tensor]:
  """Boxes [B, R, 4] xyxy and scores [B, R, C] of one prompt [N]."""
  text = _asked(model, ids[None], mask[None], class_tokens, len(image.v))
  located = model.locate(image, text)
  boxes = located.boxes[:, -1]
  cosine, counts = _token_cosines(model, image, text, located)
  tau, nothing = (
    torch.as_tensor(model.localisation[name], device=cosine.device)
    for name in ("temperature", "nothing")
  )
  tau = tau.clamp(*_TEMPERATURE)
  logits = (cosine / tau).masked_fill(~counts[:, None], -1e9)
  nothing = (nothing / tau).expand(*logits.shape[:2], 1)
  named = torch.cat([logits, nothing], -1).softmax(-1)[..., :-1]
  saliency = image.proposals["saliency_logit"].gather(1, image.regions["index"])
  scores = named * saliency.float().sigmoid()[..., None]
  if options.fit and text.phrases is not None:
    fit = model.box_fit(image, text, boxes)
    scores = scores * torch.einsum("brp,bpn->brn", fit, _places(text))
  weight = (class_tokens & counts[:1]).float()
  weight = weight / weight.sum(-1, keepdim=True).clamp(min=1.0)
  scores = torch.einsum("brn,cn->brc", scores, weight)
  half = boxes[..., 2:] / 2
  corners = torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)
  corners = corners.clamp(0, 1)
  if options.nms:
    kept = suppress(corners, scores, options.nms)
    scores = scores.masked_fill(~kept, -1.0)
  return corners, scores


def _asked(model, ids, mask, class_tokens, count: int):
  """The prompt's state for `count` images; only its classes are phrases.

  The classes before and after a class say nothing of its place.
  """
  most = None
  if model.cfg.word_map.enabled:
    content = content_tokens(ids, mask, model.cfg.text.function_ids)
    most = int(phrase_heads(content, ids.shape[1])[1].sum())
  text = model.encode_text(ids, mask, phrases=most)
  phrases = text.phrases
  if phrases is not None:
    named = class_tokens.any(0)[phrases["head"]]
    vectors = phrases["vectors"].clone()
    vectors[..., model.cfg.word_map.width :] = 0.0
    phrases = phrases | {"mask": phrases["mask"] & named, "vectors": vectors}
    phrases = {k: _repeat(v, count) for k, v in phrases.items()}
  return text._replace(
    words=_repeat(text.words, count),
    mask=_repeat(text.mask, count),
    embedding=_repeat(text.embedding, count),
    phrases=phrases,
  )


def _repeat(x: Tensor, count: int) -> Tensor:
  return x.expand(count, *x.shape[1:])


def _places(text) -> Tensor:
  """Token that speaks for each phrase, its last word: [B, P, N] float32."""
  place = F.one_hot(text.phrases["head"], text.mask.shape[1]).float()
  return place.masked_fill(~text.phrases["mask"][..., None], 0.0)


def _token_cosines(model, image, text, located) -> tuple[Tensor, Tensor]:
  """Cosine of regions and tokens [B, R, N]; tokens that count [B, N]."""
  cfg, boxes = model.cfg.adaptor, located.boxes[:, -1]
  if text.phrases is None:
    features = image.pyramid[located.boxes.shape[1] - 2]
    pooled = roi_align(features, boxes, cfg.roi_size, cfg.sampling_ratio)
    pooled = l2_normalize(pooled.mean((2, 3)))
    words = l2_normalize(located.words)
    cosine = torch.einsum("brd,bnd->brn", pooled, words)
    return cosine, inner_tokens(text.mask)
  raw, _ = model.phrase_maps(image, text)
  pooled = roi_align(raw, boxes.detach(), 1, cfg.roi_size)[:, :, 0, 0]
  place = _places(text)
  return torch.einsum("brp,bpn->brn", pooled, place), (place > 0).any(1)


def suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
  """Keeps a region for a class unless a better kept one overlaps it.

  Args:
    boxes: [B, R, 4] xyxy. scores: [B, R, C].
    threshold: IoU above which the lower-scored region goes.

  Returns:
    bool [B, R, C]; the lower index first among equal scores.
  """
  low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
  high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
  inside = (high - low).clamp(min=0).prod(-1)
  area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
  union = area[:, :, None] + area[:, None] - inside
  overlaps = inside / union.clamp(min=_TINY) > threshold  # [B, R, R]
  order = scores.argsort(dim=1, descending=True, stable=True)  # [B, R, C]
  beaten = torch.zeros_like(scores, dtype=torch.bool)
  images = torch.arange(len(boxes), device=boxes.device)[:, None]
  classes = torch.arange(scores.shape[2], device=boxes.device)[None]
  place = order.argsort(dim=1)  # of each region in the order
  for rank in range(scores.shape[1]):
    best = order[:, rank]  # [B, C]
    alive = ~beaten[images, best, classes]
    near = overlaps[images, best].transpose(1, 2)  # [B, R, C]
    beaten |= near & alive[:, None] & (place > rank)
  return ~beaten
