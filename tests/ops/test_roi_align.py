from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.ops import roi_align as ops
from tests.ops import roi_align_reference as reference

# Jitted as a whole: op by op, every primitive would be compiled apart.
roi_align = jax.jit(
  ops.roi_align, static_argnames=("output_size", "sampling_ratio")
)
interpolation_weights = jax.jit(
  ops.interpolation_weights,
  static_argnames=("length", "output_size", "sampling_ratio"),
)

STORED = Path(__file__).parent / "data" / "torchvision_roi_align.npz"


def _one(image, box, **sizes):
  pooled = roi_align(
    jnp.asarray(image, jnp.float32)[None],
    jnp.asarray(box, jnp.float32)[None, None],
    **sizes,
  )
  return pooled[0, 0]


def test_by_hand():
  """A 2x2 map: the whole image in one bin of one sample is its mean."""
  image = jnp.array([[1.0, 2.0], [3.0, 6.0]])[..., None]
  whole = [0.5, 0.5, 1.0, 1.0]
  mean = _one(image, whole, output_size=1, sampling_ratio=1)
  np.testing.assert_allclose(mean[..., 0], [[3.0]], atol=1e-6)
  # Two bins per side are sampled at the centres of the four cells.
  cells = _one(image, whole, output_size=2, sampling_ratio=1)
  np.testing.assert_allclose(cells, image, atol=1e-6)


def test_axes_run_down_then_right():
  columns = jnp.broadcast_to(jnp.arange(4.0)[None, :, None], (4, 4, 1))
  bins = _one(columns, [0.5, 0.5, 1.0, 1.0], output_size=2, sampling_ratio=2)[
    ..., 0
  ]
  np.testing.assert_allclose(bins, [[0.5, 2.5], [0.5, 2.5]], atol=1e-6)


def test_weights_by_hand():
  """Four cells, a box on their middle half: cells 1 and 2 alone."""
  weights = interpolation_weights(
    jnp.array([0.5]),
    jnp.array([0.5]),
    length=4,
    output_size=2,
    sampling_ratio=1,
  )
  np.testing.assert_allclose(weights, [[[0, 1, 0, 0], [0, 0, 1, 0]]], atol=1e-6)


def test_mean_over_bins_is_one_row_of_weights():
  centres, sizes = jnp.array([0.3, 0.95]), jnp.array([0.4, 0.5])
  kwargs = {"length": 9}
  bins = interpolation_weights(
    centres, sizes, output_size=7, sampling_ratio=2, **kwargs
  )
  row = interpolation_weights(
    centres, sizes, output_size=1, sampling_ratio=14, **kwargs
  )
  np.testing.assert_allclose(row[:, 0], bins.mean(axis=1), atol=1e-6)


def test_slow_reference():
  rng = np.random.default_rng(1)
  images = rng.normal(size=(2, 6, 9, 3))
  boxes = rng.uniform(-0.2, 1.2, (2, 5, 4))
  boxes[..., 2:] = np.abs(boxes[..., 2:])
  boxes[0, 0, 2:] = 0  # a point
  boxes[0, 1] = [1.9, 0.5, 0.1, 0.1]  # outside
  for size, ratio in ((1, 1), (3, 2)):
    ours = roi_align(
      jnp.asarray(images, jnp.float32),
      jnp.asarray(boxes, jnp.float32),
      output_size=size,
      sampling_ratio=ratio,
    )
    assert ours.shape == (2, 5, size, size, 3)
    for b in range(2):
      for r in range(5):
        slow = reference.roi_align(
          images[b], boxes[b, r], output_size=size, sampling_ratio=ratio
        )
        np.testing.assert_allclose(ours[b, r], slow, atol=2e-5)


def test_torchvision_values(test_data):
  """Outputs of torchvision itself (see data/README.md), aligned=True."""
  files = [STORED]
  if test_data:
    files.append(test_data / "oracle" / "roi_align.npz")
  for file in files:
    values = np.load(file)
    features, boxes, image = _oracle_inputs(values)
    for ratio in (1, 2):
      for size in (1, 3, 7):
        ours = roi_align(
          features, boxes, output_size=size, sampling_ratio=ratio
        )
        chosen = np.asarray(ours)[image, np.arange(len(image))]
        expected = values[f"out_aligned1_sr{ratio}_o{size}"]
        np.testing.assert_allclose(
          chosen, expected.transpose(0, 2, 3, 1), atol=2e-5
        )


def _oracle_inputs(values):
  """Ours [B,H,W,D] and cxcywh fractions, from NCHW and pixel corners."""
  features = values["feat"].transpose(0, 2, 3, 1)
  pixels = features.shape[2] / values["spatial_scale"]
  corners = values["rois"][:, 1:] / pixels
  low, high = corners[:, :2], corners[:, 2:]
  boxes = np.concatenate([(low + high) / 2, high - low], axis=-1)
  every = np.broadcast_to(boxes, (len(features), *boxes.shape))
  image = values["rois"][:, 0].astype(int)
  return jnp.asarray(features, jnp.float32), jnp.asarray(every, "f4"), image


def test_box_gradient_is_the_finite_difference():
  """Against central differences of the slow float64 reference."""
  rng = np.random.default_rng(2)
  image = rng.normal(size=(7, 6, 2))
  boxes = np.array(
    [[0.41, 0.53, 0.37, 0.29], [0.12, 0.83, 0.51, 0.44], [0.5, 0.5, 0.9, 0.9]]
  )
  cotangent = rng.normal(size=(3, 3, 2))
  sizes = {"output_size": 3, "sampling_ratio": 2}

  def ours(boxes):
    pooled = roi_align(jnp.asarray(image, "f4")[None], boxes[None], **sizes)
    return (pooled[0] * jnp.asarray(cotangent, "f4")[None]).sum()

  gradient = jax.jit(jax.grad(ours))(jnp.asarray(boxes, jnp.float32))
  step = 1e-6
  for r, box in enumerate(boxes):
    for axis in range(4):
      shift = np.eye(4)[axis] * step
      ends = [
        (reference.roi_align(image, box + sign * shift, **sizes) * cotangent)
        for sign in (1, -1)
      ]
      slope = (ends[0] - ends[1]).sum() / (2 * step)
      np.testing.assert_allclose(gradient[r, axis], slope, rtol=1e-3, atol=1e-3)


def test_degenerate_boxes_stay_finite():
  boxes = jnp.array([[[0.5, 0.5, 0, 0], [9.0, -9.0, 1, 1], [0, 0, 0, 5.0]]])

  def total(features, boxes):
    return roi_align(features, boxes, output_size=2, sampling_ratio=2).sum()

  value, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(
    jnp.ones((1, 4, 4, 1)), boxes
  )
  assert all(bool(jnp.isfinite(x).all()) for x in (value, *gradients))


@pytest.mark.parametrize(
  "features, boxes, size, message",
  [
    ((1, 4, 4), (1, 2, 4), 1, "features"),
    ((1, 4, 4, 1), (2, 4), 1, "boxes"),
    ((1, 4, 4, 1), (2, 2, 4), 1, "images"),
    ((1, 4, 4, 1), (1, 2, 4), 0, "output_size"),
  ],
)
def test_bad_shapes_are_named(features, boxes, size, message):
  with pytest.raises(ValueError, match=message):
    roi_align(
      jnp.zeros(features), jnp.zeros(boxes), output_size=size, sampling_ratio=1
    )
