"""No loss and no gradient of a loss is ever NaN or infinite."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slan_jax.models.layers import l2_normalize
from slan_jax.objective import (
  contrastive,
  detection,
  language,
  matching,
  monitors,
  phrases,
  regions,
)

ROWS, WIDTH = 3, 4
flags = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS)
scales = st.sampled_from([0.0, 1e-30, 1.0, 1e4, 1e15])
# At the borders of the image and beyond; empty, inverted and huge.
places = st.sampled_from([-2.0, -1e-7, 0.0, 0.5, 1.0, 1 + 1e-6, 3.0])
sizes = st.sampled_from([-0.5, 0.0, 1e-30, 1e-6, 0.25, 1.0, 50.0])
boxes = st.lists(
  st.tuples(places, places, sizes, sizes), min_size=ROWS, max_size=ROWS
)


def everything(floats, ids, mask):
  """Every loss of one batch, divided by its count as the task divides it."""
  image, text = l2_normalize(floats["image"]), l2_normalize(floats["text"])
  same = contrastive.same(ids, ids)
  words = mask[:, None] & (jnp.arange(2) < 1)[None]
  scores = phrases.caption_scores(
    image[:, None], jnp.stack([text, text], 1), words, sharpness=10.0
  )
  logits = floats["image"] @ floats["text"].T
  terms = [
    contrastive.contrastive_loss(
      image, text, temperature=jnp.float32(0.001), ignored=same,
      soft_targets=0.4, teacher=text,
    ),
    matching.matching_loss(floats["image"][:, :2], ids % 2, mask),
    language.token_loss(logits[None], ids[None], mask[None],
                        label_smoothing=0.1),
    phrases.phrase_loss(
      scores, scores[:, :1], scale=jnp.float32(100.0), same_text=same,
      negatives_mask=mask[:, None],
    ),
    regions.regression_loss(floats["image"][None], floats["text"][None],
                            mask[None], l1=1.0, giou=1.0),
    regions.saliency_loss(logits, jnp.clip(logits, 0, 1),
                          jnp.broadcast_to(mask[:, None], logits.shape)),
  ]  # fmt: skip
  return sum(total / jnp.maximum(count, 1.0) for total, count in terms)


run = jax.jit(jax.value_and_grad(everything))


def of_boxes(floats, mask, exists):
  """Every loss of boxes, and the monitors; one image."""
  found, target, logit = floats["found"], floats["target"], floats["logit"]
  log_p = detection.token_log_probability(
    logit, mask, jnp.float32(0), logit[..., 0]
  )
  tokens = jnp.broadcast_to(jnp.eye(ROWS)[None], (1, ROWS, ROWS))
  cost = detection.match_cost(
    jnp.exp(log_p[..., :-1]), found, tokens, target, tokens=1.0, l1=5.0,
    giou=2.0,
  )  # fmt: skip
  matched = detection.match_boxes(cost, exists)
  terms = [
    regions.regression_loss(found, target, mask, l1=1.0, giou=1.0),
  ]
  sums = [
    detection.soft_token_loss(log_p, tokens, matched, nothing=0.1),
    *detection.box_losses(found, target, matched).values(),
  ]
  watched = monitors.region_monitors(
    jax.lax.stop_gradient(jnp.stack([target, found], 1)), mask, logit[..., 0]
  )
  terms += watched.values()
  means = [total / jnp.maximum(count, 1.0) for total, count in terms]
  return sum(map(jnp.sum, sums + means))


run_boxes = jax.jit(jax.value_and_grad(of_boxes))


@settings(max_examples=40)
@given(boxes, boxes, scales, flags, flags)
def test_every_loss_of_boxes(found, target, scale, mask, exists):
  """Boxes at the borders and beyond, without size, inverted; none, one, all."""
  floats = {
    "found": np.float32([found]),
    "target": np.float32([target]),
    "logit": np.float32(
      scale * np.random.default_rng(0).normal(size=(1, 3, 3))
    ),
  }
  value, gradient = run_boxes(floats, np.array([mask]), np.array([exists]))
  assert np.isfinite(value)
  for name, leaf in gradient.items():
    assert np.isfinite(leaf).all(), name


@settings(max_examples=40)
@given(scales, scales, flags, st.booleans())
def test_every_loss(image, text, mask, equal):
  """Zero and huge vectors, nothing that counts, all ids equal."""
  rng = np.random.default_rng(0)
  floats = {
    "image": np.float32(rng.normal(size=(ROWS, WIDTH)) * image),
    "text": np.float32(rng.normal(size=(ROWS, WIDTH)) * text),
  }
  ids = np.zeros(ROWS, np.int32) if equal else np.arange(ROWS, dtype=np.int32)
  value, gradient = run(floats, ids, np.array(mask))
  assert np.isfinite(value)
  for name, leaf in gradient.items():
    assert np.isfinite(leaf).all(), name
