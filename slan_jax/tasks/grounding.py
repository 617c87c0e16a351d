"""Phrase grounding (section 4.2.6): regions and scores of every word.

Axes: B pairs, L levels, R regions, N words, P phrases, M boxes of a phrase.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from slan_jax.axes import constrain_batch
from slan_jax.models import config
from slan_jax.models.layers import l2_normalize
from slan_jax.models.slan import ImageState, Slan, TextState
from slan_jax.models.word_map import inner_tokens
from slan_jax.ops import boxes as box_ops
from slan_jax.tasks import localisation, region_tokens, retrieval
from slan_jax.tasks.config import Localisation
from slan_jax.tasks.microbatch import check_parts, microbatched
from slan_jax.tasks.parameters import init_model
from slan_jax.tasks.task import Metrics, Task

Grounded = dict[str, jax.Array]


def predictions(model: Slan) -> dict[str, Callable]:
  """`ground`: (params, images, text, text_mask) -> regions and scores."""
  return {"ground": functools.partial(_ground, model, None)}


def make_task(
  cfg: config.Slan,
  options: Localisation,
  *,
  batch_size: int,
  microbatches: int,
  max_length: int,
  phrases: int,
  boxes: int,
) -> Task:
  """Fine-tuning on captions whose phrases have boxes, such as Entities'.

  Each box is an object of its own, named by the tokens of its phrase; a box of
  several phrases is several objects.

  Args:
    cfg: the model.
    options: regions, scores and losses.
    batch_size: pairs of a global batch.
    microbatches: parts that the model sees it in.
    max_length: N, tokens of a caption.
    phrases: P, phrases of a caption at most.
    boxes: M, boxes of a phrase at most.

  Returns:
    A `Task` that predicts encode_image and ground.

  Raises:
    ValueError: microbatches that do not divide the batch.
  """
  check_parts(batch_size, microbatches)
  model = Slan(localisation.with_regions(cfg, options))
  b, n, side = batch_size, max_length, cfg.image_size
  spec = jax.ShapeDtypeStruct
  return Task(
    name="grounding",
    batch_spec={
      "image": spec((b, side, side, 3), jnp.uint8),
      "text": spec((b, n), jnp.int32),
      "text_mask": spec((b, n), bool),
      "phrase_tokens": spec((b, phrases, n), bool),
      "boxes": spec((b, phrases, boxes, 4), jnp.float32),
      "box_mask": spec((b, phrases, boxes), bool),
    },
    init=functools.partial(_init, model, options, max_length),
    loss=functools.partial(_loss, model, options, microbatches),
    predict={
      "encode_image": retrieval.predictions(model)["encode_image"],
      "ground": functools.partial(_ground, model, options),
    },
    stages=(),
  )


def _init(
  model: Slan, options: Localisation, max_length: int, key: jax.Array
) -> tuple[dict[str, Any], dict]:
  params = init_model(model, max_length, key)
  return params | {localisation.HEAD: localisation.new_head(options)}, {}


def _loss(
  model: Slan,
  options: Localisation,
  parts: int,
  params: dict[str, Any],
  ema: dict[str, Any],
  carry: dict,
  batch: dict[str, jax.Array],
  *,
  key: jax.Array,
  step: jax.Array,
  stage: int,
) -> tuple[jax.Array, tuple[Metrics, dict]]:
  """Losses of the phrases' boxes; see `Task.loss`."""
  del ema, key, step, stage
  batch = constrain_batch(batch)
  call = functools.partial(model.apply, {"params": params["slan"]})

  def look(image: jax.Array, text: jax.Array, mask: jax.Array):
    images = call(image, method="encode_image")
    texts = call(text, mask, method="encode_text")
    return localisation.token_scores(model, options, params, images, texts)

  located, log_p, counts = microbatched(look, parts)(
    batch["image"], batch["text"], batch["text_mask"]
  )
  exists = batch["box_mask"]
  tokens = batch["phrase_tokens"].astype(jnp.float32)
  targets = localisation.Targets(
    boxes=box_ops.xyxy_to_cxcywh(batch["boxes"]).reshape(len(exists), -1, 4),
    exists=exists.reshape(len(exists), -1),
    tokens=jnp.repeat(tokens, exists.shape[-1], axis=1),
  )
  terms, metrics = localisation.localisation_terms(
    options, located.boxes, log_p, counts, targets
  )
  return localisation.total(terms), (metrics | terms, carry)


def _ground(
  model: Slan,
  tuned: Localisation | None,
  params: Any,
  images: ImageState,
  text: jax.Array,
  text_mask: jax.Array,
) -> Grounded:
  """Locates a caption's words.

  Args:
    model: the model.
    tuned: how a model that learned from boxes scores its regions; None = as
      pre-training leaves it.
    params: of the task.
    images: B encoded images: those of several captions are encoded once.
    text: [B, N] int32. text_mask: [B, N] bool, real tokens.

  Returns:
    boxes [B, L+1, R, 4] cxcywh in [0, 1]; region_mask [B, R]; scores
    [B, L+1, R, N], how well a region fits a word after each level;
    token_weight [B, N], how much a token says about its phrase; map
    [B, h, w, N], where each word is; proposals [B, Q, 4] and proposal_score
    [B, Q], the saliency before the region filter.
  """
  call = functools.partial(model.apply, {"params": params["slan"]})
  texts = call(text, text_mask, method="encode_text")
  scores = None
  if tuned is None:
    located = call(images, texts, method="locate")
  else:
    located, scores, _ = localisation.region_scores(
      model, tuned, params, images, texts
    )
  found = {
    "boxes": located.boxes,
    "region_mask": images.regions["mask"],
    "proposals": images.proposals["boxes"],
    "proposal_score": jax.nn.sigmoid(images.proposals["saliency_logit"]),
  }
  if texts.phrases is not None:
    found |= _by_phrases(call, images, texts, located.boxes)
  else:
    found |= _by_words(model, images, texts, located)
  return found if scores is None else found | {"scores": scores}


def _by_phrases(call, images: ImageState, texts: TextState, boxes) -> Grounded:
  """Scores a head noun by the fit of the box to its phrase's map."""
  place = region_tokens.phrase_places(texts)
  fine = call(images, texts, method="phrase_maps").extent
  return {
    "scores": region_tokens.phrase_fit(call, images, texts, boxes),
    "token_weight": jnp.max(place, axis=1),
    "map": jnp.einsum("bhwp,bpn->bhwn", fine, place),
  }


def _by_words(
  model: Slan, images: ImageState, texts: TextState, located
) -> Grounded:
  """Scores a word by its cosine with the region pooled after each level."""
  words = l2_normalize(located.words)
  return {
    "scores": region_tokens.word_cosines(model, images, located),
    "token_weight": inner_tokens(texts.mask).astype(jnp.float32),
    "map": jnp.einsum(
      "bhwd,bnd->bhwn", l2_normalize(images.pyramid[-1]), words
    ),
  }
