"""Residual networks: sizes, maps, norms and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from slan_jax.models import config, resnet
from tests.models import shapes

SMALL = config.ResNetRow(
  "imagenet", 8, "bottleneck", (16, 24), (1, 1), 1, "group"
)


def normal(*shape: int) -> np.ndarray:
  return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_total_and_maps_of_resnet50():
  """23.508 M without the classifier; strides 4 to 32 and the stem's 2."""
  row = config.BACKBONES["resnet50"]
  module = resnet.ResNet(row, jnp.bfloat16, "full")
  images = jnp.zeros((2, 224, 224, 3))
  tree = shapes.parameters(module, images)
  assert shapes.millions(tree) == 23.508
  maps = jax.eval_shape(module.apply, {"params": tree}, images)
  assert {stride: leaf.shape[1:] for stride, leaf in maps.items()} == {
    2: (112, 112, 64),
    4: (56, 56, 256),
    8: (28, 28, 512),
    16: (14, 14, 1024),
    32: (7, 7, 2048),
  }
  assert max(maps) == row.stride
  assert {leaf.dtype for leaf in maps.values()} == {jnp.dtype("bfloat16")}
  assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {
    jnp.dtype("float32")
  }


def test_imported_statistics_are_beside_the_total():
  """A frozen batch norm adds mean and variance of each channel, no more."""
  images = jnp.zeros((1, 64, 64, 3))
  frozen = dataclasses.replace(
    config.BACKBONES["resnet50"], norm="frozen_batch"
  )
  tree = shapes.parameters(resnet.ResNet(frozen, jnp.float32), images)
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  extra = sum(a.size for path, a in leaves if path[-1].key in ("mean", "var"))
  assert round((shapes.count(tree) - extra) / 1e6, 3) == 23.508


@pytest.mark.parametrize(
  ("name", "fine"), [("resnet_tiny", 4), ("resnet_tiny8", 8)]
)
def test_maps_of_the_small_rows(name, fine):
  row = config.BACKBONES[name]
  module = resnet.ResNet(row, jnp.float32)
  side = 16 * fine
  images = jnp.zeros((2, side, side, 3))
  maps = jax.eval_shape(
    lambda x: module.init_with_output(jax.random.key(0), x)[0], images
  )
  assert {stride: leaf.shape for stride, leaf in maps.items()} == {
    2: (2, side // 2, side // 2, 24),
    fine: (2, 16, 16, 48),
    2 * fine: (2, 8, 8, 96),
  }
  assert row.stride == 2 * fine


@pytest.mark.parametrize(
  ("name", "fine"), [("resnet_tiny", 4), ("resnet_tiny8", 8)]
)
def test_cells_of_the_small_rows_look_at_their_own_place(name, fine):
  module = resnet.ResNet(config.BACKBONES[name], jnp.float32)
  images = jax.random.normal(jax.random.key(1), (1, 16 * fine, 16 * fine, 3))
  params = module.init(jax.random.key(0), images)

  def cell(images: jax.Array) -> jax.Array:
    return module.apply(params, images)[fine][0, 8, 8].sum()

  seen = np.abs(jax.grad(cell)(images)[0]).sum(-1) > 0
  for axis in (0, 1):
    pixels = np.flatnonzero(seen.any(axis))
    # The cell's own pixels begin at 8 of its sides.
    assert (pixels[0] + pixels[-1]) / 2 == 8 * fine + (fine - 1) / 2


@pytest.mark.parametrize("kind", ["group", "layer", "frozen_batch"])
def test_norms_against_torch(kind: str):
  """Each norm equals torch's of the same definition, gain and shift used."""
  x = normal(2, 5, 5, 64) * 3 + 1
  module = resnet.Norm(kind, jnp.float32)
  rng = np.random.default_rng(1)
  params = {
    name: np.abs(rng.normal(size=64)).astype("float32")
    for name in shapes.parameters(module, x)
  }
  scale, bias = (torch.tensor(params[name]) for name in ("scale", "bias"))
  y = torch.tensor(x).permute(0, 3, 1, 2)
  if kind == "group":
    y = torch.nn.functional.group_norm(y, 32, scale, bias)
  elif kind == "frozen_batch":
    mean, var = (torch.tensor(params[name]) for name in ("mean", "var"))
    y = torch.nn.functional.batch_norm(y, mean, var, scale, bias)
  if kind == "layer":
    y = torch.nn.functional.layer_norm(torch.tensor(x), (64,), scale, bias)
  else:
    y = y.permute(0, 2, 3, 1)
  ours = module.apply({"params": params}, x)
  np.testing.assert_allclose(ours, y.numpy(), atol=1e-4)


def test_frozen_batch_norm_gets_no_gradient():
  """Kernels learn, the four imported arrays of each norm do not."""
  row = dataclasses.replace(SMALL, norm="frozen_batch")
  module = resnet.ResNet(row, jnp.float32)
  images = normal(1, 32, 32, 3)
  params = shapes.filled(module, images)
  slopes = jax.jit(
    jax.grad(lambda p: jnp.square(module.apply(p, images)[8]).sum())
  )(params)
  for path, slope in jax.tree_util.tree_flatten_with_path(slopes)[0]:
    moved = np.abs(slope).max() > 0
    assert moved == (path[-1].key == "kernel"), path


def test_remat_changes_neither_values_nor_gradients():
  images = normal(1, 32, 32, 3)
  params = shapes.filled(resnet.ResNet(SMALL, jnp.float32), images)

  def loss(p, policy: str):
    module = resnet.ResNet(SMALL, jnp.float32, policy)
    return jnp.square(module.apply(p, images)[8]).mean()

  run = jax.jit(jax.value_and_grad(loss), static_argnums=1)
  plain, saved = run(params, "none"), run(params, "full")
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    plain,
    saved,
  )


@pytest.mark.parametrize(
  ("field", "value"), [("norm", "batch"), ("stem", "big"), ("block", "odd")]
)
def test_unknown_choices(field: str, value: str):
  row = dataclasses.replace(SMALL, **{field: value})
  with pytest.raises(ValueError, match=value):
    shapes.parameters(resnet.ResNet(row, jnp.float32), normal(1, 32, 32, 3))
