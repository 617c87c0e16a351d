import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.ops.suppress import suppress


def slow(boxes, scores, threshold):
  """Greedy suppression of one class in plain Python: the kept, best first."""

  def iou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inner = np.prod(np.maximum(high - low, 0))
    both = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner
    return inner / both

  kept = []
  for row in np.argsort(-scores, kind="stable"):
    if all(iou(boxes[row], boxes[other]) <= threshold for other in kept):
      kept.append(row)
  return kept


def case(test_data):
  if test_data:
    stored = np.load(test_data / "oracle" / "nms.npz")
    boxes = stored["boxes"] / stored["boxes"].max()
    return boxes, stored["scores"], stored["keep_05"], stored["keep_03"]
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (17, 2))
  boxes = np.concatenate([low, low + rng.uniform(0.1, 0.4, (17, 2))], 1)
  scores = rng.uniform(size=17)
  return boxes, scores, *(slow(boxes, scores, t) for t in (0.5, 0.3))


@pytest.mark.parametrize("place, threshold", [(2, 0.5), (3, 0.3)])
def test_each_class_agrees_with_torchvision(test_data, place, threshold):
  """Two classes with opposite scores; without stored values, a slow loop."""
  found = case(test_data)
  boxes, scores = found[:2]
  both = np.stack([scores, -scores], axis=-1)
  kept = jax.jit(suppress, static_argnames="threshold")(
    jnp.float32(boxes)[None], jnp.float32(both)[None], threshold=threshold
  )[0]
  assert set(np.flatnonzero(kept[:, 0])) == set(found[place])
  expected = slow(boxes, -scores, threshold)
  assert set(np.flatnonzero(kept[:, 1])) == set(expected)


def test_equal_scores_keep_the_first():
  boxes = jnp.array([[[0.0, 0.0, 0.5, 0.5]] * 3])
  kept = suppress(boxes, jnp.ones((1, 3, 1)), threshold=0.5)
  np.testing.assert_array_equal(kept[0, :, 0], [True, False, False])
