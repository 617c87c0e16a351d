"""No value and no gradient of the operations is ever NaN or infinite."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slan_jax.ops import boxes as box_ops
from slan_jax.ops.cross_attend import cross_attend
from slan_jax.ops.neighbours import (
  neighbour_offset,
  neighbour_word_similarity,
  normalise_similarity,
)
from slan_jax.ops.roi_align import roi_align
from slan_jax.ops.select import select_regions

REGIONS, WORDS, WIDTH, SIDE = 3, 2, 4, 4

# At the borders of the image and beyond; empty, inverted and huge.
places = st.sampled_from([-2.0, -1e-7, 0.0, 0.125, 0.5, 1.0, 1 + 1e-6, 3.0])
sizes = st.sampled_from([-0.5, 0.0, 1e-30, 1e-6, 0.25, 1.0, 50.0])
boxes = st.lists(
  st.tuples(places, places, sizes, sizes), min_size=REGIONS, max_size=REGIONS
)
scales = st.sampled_from([0.0, 1e-30, 1e-12, 1.0, 1e4])
masks = {
  "regions": st.lists(st.booleans(), min_size=REGIONS, max_size=REGIONS),
  "words": st.lists(st.booleans(), min_size=WORDS, max_size=WORDS),
}


def everything(floats, region_mask, word_mask):
  """Every operation on the same inputs, summed with different weights."""
  b, features = floats["boxes"], floats["features"]
  words, saliency = floats["words"], floats["saliency"]
  embedded = roi_align(features, b, output_size=2, sampling_ratio=2)
  out = [embedded]
  for normalise in ("max", "minmax", "softmax"):
    kept = select_regions(
      b, embedded.mean((2, 3)), saliency, top=2, threshold=0.5,
      normalise=normalise,
    )  # fmt: skip
    out.append(kept["embeddings"] * kept["score"][..., None])
  centres = b[..., :2]
  for order in ("similarity_first", "embed_first"):
    similarity = neighbour_word_similarity(
      features, centres, words, word_mask, window=0.5, grid=3, roi_size=2,
      order=order, cosine=True,
    ).max(-1)  # fmt: skip
    weight = normalise_similarity(
      similarity, similarity != 0, mode="softmax", temperature=0.1
    )
    out += [similarity, neighbour_offset(weight, window=0.5, grid=3)]
  out += cross_attend(
    embedded.mean((2, 3)), words, region_mask, word_mask, heads=2
  )
  corners = box_ops.cxcywh_to_xyxy(b)
  out.append(box_ops.pairwise_giou(corners, corners))
  out.append(box_ops.pairwise_iou(corners, box_ops.clip_xyxy(corners)))
  out.append(box_ops.clamp_cxcywh(b, min_size=1e-3))
  return sum((i + 1) * jnp.sum(jnp.sin(x)) for i, x in enumerate(out))


run = jax.jit(jax.value_and_grad(everything))


@settings(max_examples=40)
@given(boxes, scales, scales, scales, *masks.values())
def test_every_operation(found, feature, word, saliency, regions, words):
  rng = np.random.default_rng(0)
  floats = {
    "boxes": np.float32([found]),
    "features": rng.normal(size=(1, SIDE, SIDE, WIDTH)) * feature,
    "words": rng.normal(size=(1, WORDS, WIDTH)) * word,
    "saliency": np.clip(np.full((1, REGIONS), saliency), 0, 1),
  }
  floats = jax.tree.map(np.float32, floats)
  value, gradient = run(floats, np.array([regions]), np.array([words]))
  assert np.isfinite(value)
  for name, leaf in gradient.items():
    assert np.isfinite(leaf).all(), name
