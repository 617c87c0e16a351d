"""Vision transformers: sizes, maps, the middle map, position tables."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from slan_jax.models import config, vit
from tests.models import shapes

ROW = config.VitRow(8, 16, 3, 2, 24, 2)


def images(side: int = 32) -> np.ndarray:
  rng = np.random.default_rng(0)
  return rng.normal(size=(2, side, side, 3)).astype("float32")


def small(dtype=jnp.float32, row: config.VitRow = ROW) -> vit.Vit:
  return vit.Vit(row, 32, dtype, "none")


@pytest.mark.parametrize(
  ("name", "total", "side", "width"),
  [
    ("vit_b", 85.799, 14, 768),
    ("vit_l", 303.302, 14, 1024),
    ("vit_h", 630.765, 16, 1280),
  ],
)
def test_totals_at_224(name: str, total: float, side: int, width: int):
  row = config.BACKBONES[name]
  module = vit.Vit(row, 224, jnp.bfloat16, "dots")
  pixels = jnp.zeros((1, 224, 224, 3))
  tree = shapes.parameters(module, pixels)
  assert shapes.millions(tree) == total
  maps = jax.eval_shape(module.apply, {"params": tree}, pixels)
  assert maps[row.stride].shape == (1, side, side, width)
  assert list(maps) == [row.patch]


def test_middle_map_is_that_of_a_shorter_network():
  """Tokens after block 2 = those of the first two blocks alone, unnormed."""
  params = shapes.filled(small(), images())
  maps, middle = jax.jit(lambda p: small().apply(p, images(), middle=True))(
    params
  )
  plain = jax.jit(small().apply)(params, images())
  np.testing.assert_allclose(maps[8], plain[8], atol=1e-6)
  own = params["params"]
  cut = own | {"layers": jax.tree.map(lambda a: a[:2], own["layers"])}
  short = small(row=dataclasses.replace(ROW, layers=2))
  low = jax.jit(lambda p: short.apply(p, images(), middle=True))(
    {"params": cut}
  )[1]
  np.testing.assert_allclose(middle, low, atol=1e-6)
  assert np.abs(middle - maps[8]).max() > 0.1


def test_cells_are_where_their_patches_are():
  """Without mixing (zero layers' outputs) a patch moves its own cell only."""
  params = shapes.filled(small(), images())
  blank = jax.tree.map(np.zeros_like, params["params"]["layers"])
  params = {"params": params["params"] | {"layers": blank}}
  pixels = images()
  moved = pixels.copy()
  moved[:, 8:16, 24:32] += 1.0  # row 1, column 3
  run = jax.jit(small().apply)
  change = np.abs(run(params, pixels)[8] - run(params, moved)[8]).max((0, 3))
  assert np.argwhere(change > 1e-6).tolist() == [[1, 3]]


@pytest.mark.parametrize("side", [3, 7, 9])
def test_position_table_resized_as_torch_does(side: int):
  table = np.random.default_rng(0).normal(size=(26, 4)).astype("float32")
  grid = torch.tensor(table[1:]).reshape(1, 5, 5, 4).permute(0, 3, 1, 2)
  grid = torch.nn.functional.interpolate(
    grid, (side, side), mode="bicubic", align_corners=False
  )
  expected = grid.permute(0, 2, 3, 1).reshape(-1, 4).numpy()
  resized = vit.resize_positions(jnp.asarray(table), side)
  np.testing.assert_allclose(resized[1:], expected, atol=1e-5)
  np.testing.assert_array_equal(resized[0], table[0])
  assert vit.resize_positions(table, 5) is table


def test_other_image_sides():
  """Another multiple of the patch works with the same parameters."""
  params = shapes.parameters(small(), images())
  maps = jax.eval_shape(small().apply, {"params": params}, images(48))
  assert maps[8].shape == (2, 6, 6, 16)
  with pytest.raises(ValueError, match="not a multiple of the patch, 8"):
    shapes.parameters(small(), images(36))


def test_bfloat16_keeps_parameters_in_float32():
  module = small(jnp.bfloat16)
  tree = shapes.parameters(module, images())
  assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {
    jnp.dtype("float32")
  }
  maps = jax.eval_shape(module.apply, {"params": tree}, images())
  assert maps[8].dtype == jnp.bfloat16
