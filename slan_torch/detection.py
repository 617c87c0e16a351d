"""Detection by prompt (section 4.2.6): regions and scores of every class.

Axes: B images, Q proposals, R regions, K prompts, C classes of a prompt,
N tokens, P phrases.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slan_torch.localisation import region_scores
from slan_torch.word_map import content_tokens, phrase_heads

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
  options, regions = model.config.detection, model.box_regions
  image = model.encode_image(images, **regions)
  found = [
    _detect_one(model, image, options, *(part[row] for part in prompts[1:4]))
    for row in range(len(prompts.ids))
  ]
  boxes, scores = (torch.cat(part, 1) for part in zip(*found))
  classes = prompts.classes.repeat_interleave(regions["top"], 0)
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
  last = located.boxes.shape[1] - 1
  scores, counts = region_scores(model, image, text, located, [last])
  weight = (class_tokens & counts[:1]).float()
  weight = weight / weight.sum(-1, keepdim=True).clamp(min=1.0)
  scores = torch.einsum("brn,cn->brc", scores[:, 0], weight)
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
