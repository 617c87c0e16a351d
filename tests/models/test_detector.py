"""The detector: sizes, boxes, references and permutations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models import config, detector
from tests.models import shapes

STOCK = config.Detector(6, 6, 256, 8, 2048, 100, "learned", 0.25)
GRID = config.Detector(1, 2, 16, 2, 24, 6, "grid", 0.3)


def v(seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return rng.normal(size=(2, 4, 4, 5)).astype("float32")


def build(settings=GRID, dtype=jnp.float32) -> detector.Detector:
  return detector.Detector(settings, dtype, "none")


run = jax.jit(build().apply)


@pytest.mark.parametrize(
  ("width", "total"),
  [(2048, 18.046), (768, 17.719), (1024, 17.784), (1280, 17.850)],
)
def test_totals_of_the_paper(width: int, total: float):
  module = detector.Detector(STOCK, jnp.bfloat16, "dots")
  tree = shapes.parameters(module, jnp.zeros((1, 7, 7, width)))
  assert shapes.millions(tree) == total
  assert shapes.millions(tree["transformer"]) == 17.363


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("reference", ["learned", "grid"])
def test_outputs(reference: str, dtype):
  settings = config.Detector(1, 2, 16, 2, 24, 6, reference, 0.3)
  module = build(settings, dtype)
  out = jax.eval_shape(
    lambda x: module.init_with_output(jax.random.key(0), x)[0], v()
  )
  described = {name: (a.shape, a.dtype) for name, a in out.items()}
  assert described == {
    "boxes": ((2, 6, 4), jnp.float32),
    "saliency_logit": ((2, 6), jnp.float32),
    "states": ((2, 6, 16), dtype),
  }


def test_grid_boxes_start_at_their_references():
  """Six queries: three columns, two rows, near the cells' centres."""
  params = jax.jit(build().init)(jax.random.key(0), v())
  boxes = run(params, v())["boxes"]
  assert ((boxes > 0) & (boxes < 1)).all()
  centres = [[(j + 0.5) / 3, (i + 0.5) / 2] for i in range(2) for j in range(3)]
  references = detector.grid_references(6, 0.3)
  np.testing.assert_allclose(references[:, :2], centres, rtol=1e-6)
  np.testing.assert_allclose(references[:, 2:], 0.3)
  np.testing.assert_allclose(boxes[0], references, atol=0.06)
  own = params["params"]
  still = own | {"box3": jax.tree.map(np.zeros_like, own["box3"])}
  boxes = run({"params": still}, v())["boxes"]
  np.testing.assert_allclose(boxes[1], references, atol=1e-6)


def test_a_query_starts_with_what_lies_in_its_box():
  """Without attention to the cells, only the own box can tell."""
  params = jax.jit(build().init)(jax.random.key(0), v())["params"]
  decoder = params["transformer"]["decoder"]
  cut = {
    "cross": jax.tree.map(np.zeros_like, decoder["cross"]),
    "attention": jax.tree.map(np.zeros_like, decoder["attention"]),
  }
  still = params["transformer"] | {"decoder": decoder | cut}
  settings = dataclasses.replace(GRID, encoder_layers=0, queries=4)
  still = {k: x for k, x in still.items() if k != "encoder"}
  module = build(dataclasses.replace(settings, reference_size=0.5))
  params = params | {"transformer": still, "query": params["query"][:4]}

  def states(x):
    return module.apply({"params": params}, x)["states"]

  changed = v()
  changed[:, 0, 0] += 1  # a cell of the first quarter
  moved = jnp.abs(states(changed) - states(v())).max((0, 2))
  assert moved[0] > 1e-3
  np.testing.assert_allclose(moved[1:], 0, atol=1e-5)


@pytest.mark.parametrize("queries", [1, 5, 10, 16, 100])
def test_grid_references_cover_without_repeats(queries: int):
  boxes = np.asarray(detector.grid_references(queries, 0.2))
  assert boxes.shape == (queries, 4)
  assert len(np.unique(boxes[:, :2].round(6), axis=0)) == queries
  assert ((boxes[:, :2] > 0) & (boxes[:, :2] < 1)).all()
  assert np.ptp(boxes[:, 0]) < 1 and (queries < 4 or np.ptp(boxes[:, 1]) >= 0.5)


def test_learned_queries_swap_with_their_outputs():
  """Queries are a set: permuting them permutes boxes, saliency and states."""
  settings = config.Detector(0, 2, 16, 2, 24, 6, "learned", 0.3)
  params = shapes.filled(build(settings), v())["params"]
  assert "encoder" not in params["transformer"]
  order = np.array([3, 0, 5, 1, 4, 2])
  apply = jax.jit(build(settings).apply)
  plain = apply({"params": params}, v())
  swapped = apply({"params": params | {"query": params["query"][order]}}, v())
  for name, array in plain.items():
    np.testing.assert_allclose(swapped[name], array[:, order], atol=1e-5)


def test_saliency_and_boxes_depend_on_the_image():
  params = shapes.filled(build(), v())
  one, two = run(params, v()), run(params, v(1))
  for name, array in one.items():
    assert np.abs(array - two[name]).max() > 1e-4, name


def test_unknown_reference():
  settings = config.Detector(1, 2, 16, 2, 24, 6, "anchors", 0.3)
  with pytest.raises(ValueError, match="'anchors'"):
    shapes.parameters(build(settings), v())
