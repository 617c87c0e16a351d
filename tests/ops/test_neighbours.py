import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.ops import cells
from slan_jax.ops import neighbours as ops
from tests.ops import roi_align_reference as reference

# Jitted as a whole: op by op, every primitive would be compiled apart.
_SETTINGS = ("grid", "roi_size", "sampling_ratio", "order", "cosine")
neighbour_similarity = jax.jit(
  ops.neighbour_similarity, static_argnames=_SETTINGS
)
neighbour_word_similarity = jax.jit(
  ops.neighbour_word_similarity, static_argnames=_SETTINGS
)
normalise_similarity = jax.jit(ops.normalise_similarity, static_argnames="mode")
neighbour_offset = jax.jit(
  ops.neighbour_offset, static_argnames=("grid", "pitch", "swap_axes")
)
neighbour_boxes = jax.jit(cells.neighbour_boxes, static_argnames="grid")
neighbour_mask = jax.jit(cells.neighbour_mask, static_argnames="grid")

B, R, T, D, H, W, K = 2, 3, 4, 5, 8, 6, 3
WINDOW = (0.6, 0.45)
SIZES = {"grid": K, "roi_size": 2, "sampling_ratio": 2}


@pytest.fixture(scope="module")
def inputs():
  rng = np.random.default_rng(3)
  features = rng.normal(size=(B, H, W, D)).astype(np.float32)
  centres = rng.uniform(0.1, 0.9, (B, R, 2)).astype(np.float32)
  words = rng.normal(size=(B, T, D)).astype(np.float32)
  mask = np.array([[True] * 4, [True, True, False, False]])
  return features, centres, words, mask


@functools.cache
def jitted(order, cosine, differentiate=False):
  def similarity(features, centres, words, mask):
    return ops.neighbour_similarity(
      *(features, centres, words, mask),
      **(SIZES | {"window": WINDOW, "order": order, "cosine": cosine}),
    )

  def total(*args):
    return (similarity(*args) * jnp.arange(9.0)[None, None]).sum()

  return jax.jit(jax.grad(total, (0, 1, 2)) if differentiate else similarity)


def test_cells_by_hand():
  boxes = neighbour_boxes(jnp.array([[[0.5, 0.4]]]), window=(0.6, 0.3), grid=3)[
    0, 0
  ]
  np.testing.assert_allclose(boxes[0], [0.3, 0.3, 0.2, 0.1], atol=1e-6)
  np.testing.assert_allclose(boxes[1], [0.5, 0.3, 0.2, 0.1], atol=1e-6)
  np.testing.assert_allclose(boxes[3], [0.3, 0.4, 0.2, 0.1], atol=1e-6)
  np.testing.assert_allclose(boxes[8], [0.7, 0.5, 0.2, 0.1], atol=1e-6)


def test_cells_tile_the_window():
  centres = jnp.array([[[0.3, 0.7]]])
  boxes = np.asarray(neighbour_boxes(centres, window=0.5, grid=5))[0, 0]
  np.testing.assert_allclose(boxes[:, 2:].prod(axis=1).sum(), 0.25, rtol=1e-5)
  np.testing.assert_allclose(boxes[:, :2].mean(axis=0), [0.3, 0.7], atol=1e-6)


def test_mask_marks_cells_centred_outside():
  mask = neighbour_mask(jnp.array([[[0.0, 0.5]]]), window=0.6, grid=3)
  expected = [[False, True, True]] * 3  # the left column is outside
  np.testing.assert_array_equal(mask[0, 0].reshape(3, 3), expected)


def test_window_per_region_is_the_scalar_pair(inputs):
  _, centres, _, _ = inputs
  pair = neighbour_boxes(centres, window=WINDOW, grid=K)
  array = jnp.broadcast_to(jnp.array(WINDOW), centres.shape)
  np.testing.assert_array_equal(
    pair, neighbour_boxes(centres, window=array, grid=K)
  )


@pytest.mark.parametrize("cosine", [False, True])
def test_slow_reference(inputs, cosine):
  """Each cell pooled by loops, its bins averaged, then the best real word."""
  features, centres, words, mask = inputs
  ours = jitted("similarity_first", cosine)(*inputs)
  boxes = neighbour_boxes(centres, window=WINDOW, grid=K)
  inside = neighbour_mask(centres, window=WINDOW, grid=K)
  for b, r, k in itertools.product(range(B), range(R), range(K * K)):
    cell = reference.roi_align(
      features[b], boxes[b, r, k], output_size=2, sampling_ratio=2
    ).mean(axis=(0, 1))
    similarity = words[b, mask[b]] @ cell
    if cosine:
      norms = np.linalg.norm(words[b, mask[b]], axis=-1)
      similarity = similarity / norms / np.linalg.norm(cell)
    expected = similarity.max() if inside[b, r, k] else 0.0
    np.testing.assert_allclose(ours[b, r, k], expected, atol=2e-5)


@pytest.mark.parametrize("cosine", [False, True])
def test_orders_agree_in_value_and_gradient(inputs, cosine):
  for differentiate in (False, True):
    maps = jitted("similarity_first", cosine, differentiate)(*inputs)
    pooled = jitted("embed_first", cosine, differentiate)(*inputs)
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, atol=1e-4), maps, pooled
    )


def test_similarity_is_differentiable_in_the_centres(inputs):
  gradient = jitted("similarity_first", False, True)(*inputs)[1]
  assert bool((jnp.abs(gradient) > 0).any(axis=-1).all())


def test_per_word_variant_holds_the_maximum(inputs):
  each = neighbour_word_similarity(*inputs, window=WINDOW, **SIZES)
  assert each.shape == (B, R, K * K, T)
  assert not each[1, ..., 2:].any()  # padded words
  best = jitted("similarity_first", False)(*inputs)
  np.testing.assert_allclose(each[0].max(axis=-1), best[0], atol=1e-5)


@pytest.mark.parametrize("order", ["similarity_first", "embed_first"])
@pytest.mark.parametrize("cosine", [False, True])
def test_nothing_to_see_gives_zeros_not_nan(inputs, order, cosine):
  """A text of padding, a map of zeros, a region far outside the image."""
  features, centres, words, mask = (np.array(x) for x in inputs)
  features[0], mask[1], centres[0, 0] = 0, False, (7.0, -3.0)
  similarity = jitted(order, cosine)(features, centres, words, mask)
  assert not similarity.any()
  for gradient in jitted(order, cosine, True)(features, centres, words, mask):
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("order", ["similarity_first", "embed_first"])
def test_bfloat16_features_accumulate_in_float32(inputs, order):
  features, *rest = inputs
  similarity = jitted(order, False)(jnp.asarray(features, "bfloat16"), *rest)
  assert similarity.dtype == jnp.float32
  np.testing.assert_allclose(
    similarity, jitted(order, False)(*inputs), atol=0.05
  )


def test_softmax_weights_by_hand():
  similarity = jnp.log(jnp.array([[[1.0, 2.0, 3.0, 4.0]]]))
  valid = jnp.array([[[True, True, True, False]]])
  weights = normalise_similarity(
    similarity, valid, mode="softmax", temperature=1.0
  )
  np.testing.assert_allclose(weights[0, 0], [1 / 6, 2 / 6, 3 / 6, 0], rtol=1e-6)
  raw = normalise_similarity(similarity, valid, mode="raw", temperature=1.0)
  np.testing.assert_allclose(raw[0, 0, 2:], [np.log(3), 0], rtol=1e-6)
  halved = normalise_similarity(
    similarity, valid, mode="softmax", temperature=0.5
  )
  np.testing.assert_allclose(halved[0, 0, :3] * 14, [1, 4, 9], rtol=1e-5)


def test_softmax_without_valid_cells_is_zero():
  def total(similarity):
    return normalise_similarity(
      similarity, jnp.zeros((1, 1, 9), bool), mode="softmax", temperature=0.1
    ).sum()

  value, gradient = jax.jit(jax.value_and_grad(total))(jnp.ones((1, 1, 9)))
  assert value == 0 and bool(jnp.isfinite(gradient).all())


def _single(cell):
  return jnp.zeros((1, 1, 9)).at[0, 0, cell].set(1.0)


def test_offset_by_hand():
  """Eq. 2 with one cell of weight 1: the vector to that cell's centre."""
  for cell, expected in ((5, (0.2, 0.0)), (7, (0.0, 0.1)), (0, (-0.2, -0.1))):
    offset = neighbour_offset(_single(cell), window=(0.6, 0.3), grid=3)
    np.testing.assert_allclose(offset[0, 0], expected, atol=1e-6)


def test_offset_leads_to_the_cell_centre():
  centres = jnp.array([[[0.4, 0.6]]])
  boxes = neighbour_boxes(centres, window=0.3, grid=3)
  for cell in range(9):
    offset = neighbour_offset(_single(cell), window=0.3, grid=3)
    np.testing.assert_allclose(
      centres + offset, boxes[:, :, cell, :2], atol=1e-6
    )


def test_letter_of_eq2_and_wide_pitch():
  """To the letter dx follows the rows; "window" takes H_j as the whole."""
  right = _single(5)
  literal = neighbour_offset(right, window=(0.6, 0.3), grid=3, swap_axes=True)
  np.testing.assert_allclose(literal[0, 0], [0.0, 0.2], atol=1e-6)
  wide = neighbour_offset(right, window=(0.6, 0.3), grid=3, pitch="window")
  np.testing.assert_allclose(wide[0, 0], [0.6, 0.0], atol=1e-6)


def test_softmax_bounds_the_shift():
  """At most (K // 2) / K of the window, however large the similarities."""
  rng = np.random.default_rng(4)
  similarity = jnp.asarray(rng.normal(scale=50, size=(1, 20, 9)), jnp.float32)
  weights = normalise_similarity(
    similarity, jnp.ones((1, 20, 9), bool), mode="softmax", temperature=0.1
  )
  offset = neighbour_offset(weights, window=1.0, grid=3)
  assert float(jnp.abs(offset).max()) <= 1 / 3 + 1e-6


@pytest.mark.parametrize("order", ["similarity_first", "embed_first"])
@pytest.mark.parametrize(
  "place, axis, sign", [("right", 0, 1), ("left", 0, -1), ("below", 1, 1)]
)
def test_regions_move_towards_the_object(order, place, axis, sign):
  """An object to the right gives dx > 0, one below gives dy > 0."""
  word = jnp.zeros((1, 1, 4)).at[0, 0, 0].set(1.0)
  where = {"right": (4, 6), "left": (4, 1), "below": (6, 4)}[place]
  features = jnp.zeros((1, 8, 8, 4)).at[0, where[0], where[1], 0].set(5.0)
  centres = jnp.array([[[0.5, 0.5]]])
  similarity = neighbour_similarity(
    *(features, centres, word, jnp.ones((1, 1), bool)),
    **(SIZES | {"window": 0.9, "order": order}),
  )
  weights = normalise_similarity(
    similarity,
    neighbour_mask(centres, window=0.9, grid=K),
    mode="softmax",
    temperature=0.1,
  )
  offset = neighbour_offset(weights, window=0.9, grid=K)[0, 0]
  assert sign * float(offset[axis]) > 0.1
  assert abs(float(offset[1 - axis])) < abs(float(offset[axis]))


@pytest.mark.parametrize(
  "change, message",
  [({"grid": 4}, "odd"), ({"order": "words_first"}, "order")],
)
def test_bad_settings_are_named(inputs, change, message):
  with pytest.raises(ValueError, match=message):
    neighbour_similarity(*inputs, **(SIZES | {"window": 1.0} | change))


def test_bad_modes_are_named(inputs):
  features, centres, words, mask = inputs
  similarity = jnp.zeros((1, 1, 9))
  with pytest.raises(ValueError, match="normalisation"):
    normalise_similarity(
      similarity, similarity > 0, mode="tanh", temperature=1.0
    )
  with pytest.raises(ValueError, match="pitch"):
    neighbour_offset(similarity, window=1.0, grid=3, pitch="box")
  with pytest.raises(ValueError, match="9 cells"):
    neighbour_offset(similarity, window=1.0, grid=5)
  with pytest.raises(ValueError, match="width"):
    neighbour_similarity(
      *(features, centres, words[..., 1:], mask), window=1.0, **SIZES
    )
