"""No loss and no gradient of a loss is ever NaN or infinite."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slan_jax.models.layers import l2_normalize
from slan_jax.objective import contrastive, language, matching, phrases, regions

ROWS, WIDTH = 3, 4
flags = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS)
scales = st.sampled_from([0.0, 1e-30, 1.0, 1e4, 1e15])


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
