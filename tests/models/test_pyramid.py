"""Pyramids: sizes, scales and which maps they are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models import config, pyramid
from tests.models import shapes


def build(source: str, scales=(1, 2, 4), convs=2, width=8) -> pyramid.Pyramid:
  return pyramid.Pyramid(
    config.Pyramid(source, scales, convs), width, jnp.float32, "none"
  )


def maps(seed: int = 0) -> dict[int, np.ndarray]:
  rng = np.random.default_rng(seed)
  sides = {2: (16, 3), 4: (8, 5), 8: (4, 6)}
  return {
    stride: rng.normal(size=(2, side, side, width)).astype("float32")
    for stride, (side, width) in sides.items()
  }


@pytest.mark.parametrize(
  ("width", "total"),
  [(2048, 1.574), (768, 0.591), (1024, 0.787), (1280, 0.984)],
)
def test_totals_of_the_paper(width: int, total: float):
  """1x1 input, and 31.855 M in three levels of two convolutions."""
  module = build("decoder", (2, 4, 8), width=768)
  tree = shapes.parameters(module, {32: jnp.zeros((1, 7, 7, width))})
  convs = {name: leaf for name, leaf in tree.items() if "conv" in name}
  norms = {name: leaf for name, leaf in tree.items() if "norm" in name}
  assert shapes.millions(tree["input"]) == total
  assert shapes.millions(convs) == 31.855
  assert shapes.count(norms) == 6 * 2 * 768
  assert len(tree) == 1 + len(convs) + len(norms)


@pytest.mark.parametrize("source", ["decoder", "encoder", "fpn"])
def test_scales_and_which_maps_matter(source: str):
  """Only the decoder is blind to the backbone's finer maps (section 3.2.1)."""
  module = build(source, (1, 2, 4), convs=1)
  params = shapes.filled(module, maps())
  run = jax.jit(module.apply)
  v, levels = run(params, maps())
  assert v.shape == (2, 4, 4, 8)
  assert [x.shape for x in levels] == [(2, s, s, 8) for s in (4, 8, 16)]
  _, other = run(params, maps() | {2: maps(1)[2]})
  changed = [bool(np.abs(a - b).max() > 1e-3) for a, b in zip(levels, other)]
  assert changed == [False, False, source != "decoder"]
  _, other = run(params, maps() | {8: maps(1)[8]})
  changed = [bool(np.abs(a - b).max() > 1e-3) for a, b in zip(levels, other)]
  assert changed == [True, source != "encoder", source != "encoder"]


def test_levels_of_one_scale_are_one_map_in_an_fpn():
  module = build("fpn", (2, 2, 2), convs=0)
  params = shapes.filled(module, maps())
  _, levels = module.apply(params, maps())
  assert levels[0] is levels[1] is levels[2]
  assert sorted(params["params"]) == [
    "scale1", "scale1_norm", "scale2", "scale2_norm",
  ]  # fmt: skip


def test_encoder_resizes_when_the_backbone_has_one_map():
  """A ViT offers stride 16 only: its map is repeated, then still its own."""
  only = {16: maps()[8]}
  module = build("encoder", (1, 2, 4))
  params = shapes.filled(module, only)
  v, levels = module.apply(params, only)
  np.testing.assert_array_equal(levels[0], v)
  assert levels[2].shape == (2, 16, 16, 8)
  kernel, bias = (params["params"]["scale4"][k] for k in ("kernel", "bias"))
  cell = only[16][:, 1, 2] @ kernel + bias
  for i, j in ((4, 8), (7, 11)):  # the cells of scale 4 under cell (1, 2)
    np.testing.assert_allclose(levels[2][:, i, j], cell, atol=1e-5)


def test_resize_repeats_whole_and_blends_otherwise():
  x = jnp.arange(4.0).reshape(1, 2, 2, 1)
  doubled = pyramid.resize(x, 4)[0, :, :, 0]
  np.testing.assert_array_equal(
    doubled, np.kron([[0, 1], [2, 3]], np.ones((2, 2)))
  )
  assert pyramid.resize(x, 2) is x
  middle = pyramid.resize(x, 3)[0, 1, 1, 0]
  np.testing.assert_allclose(middle, 1.5)


def test_unknown_source():
  with pytest.raises(ValueError, match="'unet'"):
    shapes.parameters(build("unet"), maps())
