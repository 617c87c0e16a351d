import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from slan_jax.ops import boxes

# A unit square, its left half, a disjoint square and two empty boxes.
UNIT = [0.0, 0.0, 1.0, 1.0]
HALF = [0.0, 0.0, 0.5, 1.0]
APART = [2.0, 0.0, 3.0, 1.0]
POINT = [0.5, 0.5, 0.5, 0.5]
INVERTED = [0.6, 0.6, 0.4, 0.4]

several = st_numpy.arrays(
  np.float32,
  (8, 4),
  elements=st.floats(-0.5, 1.5, width=32, allow_subnormal=False),
)
jitted_giou = jax.jit(boxes.giou)
jitted_iou = jax.jit(boxes.iou)
jitted_gradient = jax.jit(jax.grad(lambda a, b: boxes.giou(a, b).sum(), (0, 1)))


def test_conversion_by_hand():
  cxcywh = jnp.array([[0.5, 0.4, 0.2, 0.6]])
  xyxy = jnp.array([[0.4, 0.1, 0.6, 0.7]])
  np.testing.assert_allclose(boxes.cxcywh_to_xyxy(cxcywh), xyxy, atol=1e-7)
  np.testing.assert_allclose(boxes.xyxy_to_cxcywh(xyxy), cxcywh, atol=1e-7)


def test_area_of_an_inverted_box_is_zero():
  areas = boxes.area(jnp.array([UNIT, HALF, POINT, INVERTED]))
  np.testing.assert_allclose(areas, [1.0, 0.5, 0.0, 0.0])


def test_clamp_and_clip():
  box = jnp.array([[1.2, -0.1, 0.0, 3.0]])
  clamped = boxes.clamp_cxcywh(box, min_size=1e-3)
  np.testing.assert_allclose(clamped, [[1.0, 0.0, 1e-3, 1.0]])
  clipped = boxes.clip_xyxy(jnp.array([[-0.2, 0.3, 0.4, 1.7]]))
  np.testing.assert_allclose(clipped, [[0.0, 0.3, 0.4, 1.0]])


@pytest.mark.parametrize(
  "a, b, iou, giou",
  [
    (UNIT, UNIT, 1.0, 1.0),
    (UNIT, HALF, 0.5, 0.5),
    (UNIT, APART, 0.0, -1 / 3),  # hull 3, union 2
    (UNIT, POINT, 0.0, 0.0),
    (POINT, POINT, 0.0, 0.0),
  ],
)
def test_overlap_by_hand(a, b, iou, giou):
  a, b = jnp.array(a), jnp.array(b)
  np.testing.assert_allclose(boxes.iou(a, b), iou, atol=1e-6)
  np.testing.assert_allclose(boxes.giou(a, b), giou, atol=1e-6)


def test_pairwise_is_the_table_of_aligned():
  a, b = jnp.array([[UNIT, HALF]]), jnp.array([[HALF, APART, POINT]])
  table = boxes.pairwise_giou(a, b)
  assert table.shape == boxes.pairwise_iou(a, b).shape == (1, 2, 3)
  for i in range(2):
    for j in range(3):
      np.testing.assert_allclose(table[0, i, j], boxes.giou(a[0, i], b[0, j]))


def test_reference_values(test_data):
  """Published IoU and GIoU; without them, both formulas written out here."""
  if test_data:
    values = np.load(test_data / "oracle" / "boxes.npz")
    a, b = values["pred_xyxy"], values["tgt_xyxy"]
    iou, giou = values["iou"], values["giou"]
  else:
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.uniform(0, 1, (n, 2, 2)), 1) for n in (5, 4))
    a, b = a.reshape(-1, 4), b.reshape(-1, 4)
    iou, giou = _overlaps(a, b)
  a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
  np.testing.assert_allclose(boxes.pairwise_iou(a, b), iou, atol=1e-5)
  np.testing.assert_allclose(boxes.pairwise_giou(a, b), giou, atol=1e-5)


def _overlaps(a, b):
  iou, giou = np.zeros((len(a), len(b))), np.zeros((len(a), len(b)))
  for i, (l0, t0, r0, b0) in enumerate(a):
    for j, (l1, t1, r1, b1) in enumerate(b):
      common = max(0, min(r0, r1) - max(l0, l1))
      common *= max(0, min(b0, b1) - max(t0, t1))
      union = (r0 - l0) * (b0 - t0) + (r1 - l1) * (b1 - t1) - common
      hull = (max(r0, r1) - min(l0, l1)) * (max(b0, b1) - min(t0, t1))
      iou[i, j] = common / union
      giou[i, j] = iou[i, j] - (hull - union) / hull
  return iou, giou


@settings(max_examples=30)
@given(several)
def test_conversions_invert_each_other(cxcywh):
  back = boxes.xyxy_to_cxcywh(boxes.cxcywh_to_xyxy(jnp.asarray(cxcywh)))
  np.testing.assert_allclose(back, cxcywh, atol=1e-6)


@settings(max_examples=50)
@given(several, several)
def test_overlap_properties(a, b):
  a, b = (np.sort(x.reshape(8, 2, 2), axis=1).reshape(8, 4) for x in (a, b))
  iou, giou = jitted_iou(a, b), jitted_giou(a, b)
  assert bool(jnp.all((iou >= 0) & (iou <= 1 + 1e-5)))
  assert bool(jnp.all((giou >= -1 - 1e-5) & (giou <= iou + 1e-5)))
  np.testing.assert_allclose(giou, jitted_giou(b, a), atol=1e-6)
  solid = np.prod(a[:, 2:] - a[:, :2], axis=-1) > 1e-6
  np.testing.assert_allclose(jitted_giou(a, a)[solid], 1.0, atol=1e-5)


@settings(max_examples=50)
@given(several, several)
def test_gradient_is_finite_for_any_box(a, b):
  """Inverted and empty boxes included, which early training produces."""
  a[0], b[0] = POINT, POINT
  a[1], b[1] = INVERTED, POINT
  for gradient in jitted_gradient(a, b):
    assert bool(jnp.isfinite(gradient).all())
