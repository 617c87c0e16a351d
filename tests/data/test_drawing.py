import itertools

import numpy as np
import pytest

from data import drawing, scene
from data.scene import COLOURS, DEFAULT, HARD, SHAPES, Item


def item(shape="circle", colour="red", texture="plain", **place):
  place = {"x": 0.5, "y": 0.5, "extent": 0.4, "angle": 0.0} | place
  return Item("large", colour, texture, shape, **place)


def draw(*items, level=DEFAULT, seed=0):
  rng = np.random.default_rng(seed)
  return drawing.draw_scene(list(items), level, rng)


def test_picture_is_the_same_for_the_same_seed_only():
  first, second, other = draw(item()), draw(item()), draw(item(), seed=1)
  np.testing.assert_array_equal(first[0], second[0])
  assert (first[0] != other[0]).any()
  assert first[0].shape == (64, 64, 3) and first[0].dtype == np.uint8


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", [0.0, 0.2])
def test_outline_fills_its_extent(shape, angle):
  outer = drawing.outline(shape, angle)[0]
  sides = outer.max(0) - outer.min(0)
  assert sides.max() == pytest.approx(1)
  assert sides.min() > 0.8
  np.testing.assert_allclose(outer.max(0), -outer.min(0), atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_box_is_as_large_as_the_object(shape):
  _, (box,) = draw(item(shape, x=0.4, y=0.6, extent=0.4))
  left, top, right, bottom = box * 64
  sides = np.ptp(drawing.outline(shape, 0.0)[0], 0) * 0.4 * 64
  # Half covered pixels count: each edge is right to about half a pixel.
  np.testing.assert_allclose([right - left, bottom - top], sides, atol=1.5)
  centre = np.array([left + right, top + bottom]) / 2
  np.testing.assert_allclose(centre, [0.4 * 64, 0.6 * 64], atol=1.0)


def test_box_is_tight_around_the_pixels_that_an_object_changes():
  # The same seed draws the same background: only the object differs.
  empty, _ = draw()
  for shape in ("square", "star", "ring"):
    picture, (box,) = draw(item(shape, colour="yellow"))
    change = np.abs(picture.astype(int) - empty).max(-1)
    left, top, right, bottom = np.rint(box * 64).astype(int)
    inside = np.zeros((64, 64), bool)
    inside[top:bottom, left:right] = True
    strong = change > 100
    assert strong[inside].mean() > 0.2
    # Each side of the box meets the object.
    assert strong[top : top + 2].any() and strong[bottom - 2 : bottom].any()
    assert strong[:, left : left + 2].any()
    assert strong[:, right - 2 : right].any()


@pytest.mark.parametrize("colour", COLOURS)
def test_an_object_has_its_colour(colour):
  picture, _ = draw(item("square", colour))
  mean = picture[24:40, 24:40].mean((0, 1))
  distances = {
    name: np.abs(mean - value).sum() for name, value in COLOURS.items()
  }
  assert min(distances, key=distances.get) == colour


def test_a_ring_has_a_hole_and_a_disc_none():
  disc, _ = draw(item("circle", "red"))
  ring, _ = draw(item("ring", "red"))
  redness = [p[30:34, 30:34].astype(int) for p in (disc, ring)]
  excess = [(r[..., 0] - r[..., 1]).mean() for r in redness]
  assert excess[0] > 100 and excess[1] < 50


def test_textures_differ_from_plain_and_from_each_other():
  pictures = [
    draw(item("square", "blue", texture))[0][20:44, 20:44].astype(float)
    for texture in scene.TEXTURES
  ]
  plain, *marked = [picture.std((0, 1)).max() for picture in pictures]
  assert all(spread > 2 * plain for spread in marked)
  for a, b in itertools.combinations(pictures, 2):
    assert np.abs(a - b).mean() > 10


def test_a_covered_object_has_the_box_of_what_remains():
  below = item("square", "red", x=0.4, extent=0.4)
  above = item("square", "blue", x=0.6, extent=0.4)
  _, alone = draw(below)
  _, both = draw(below, above)
  assert both[0, 0] == alone[0, 0]
  assert both[0, 2] == pytest.approx(0.4, abs=0.02)  # where the blue begins
  assert both[1, 0] == pytest.approx(0.4, abs=0.02)


def test_hard_scenes_have_clutter():
  base = dict(side=128, most=1, extents={}, overlap=0.0, longest=30)
  quiet = scene.Level(clutter=0, **base)
  assert HARD.clutter > 0
  noise, _ = draw(level=quiet)
  assert noise.shape == (128, 128, 3)
  changed = [
    np.abs(
      draw(level=HARD, seed=s)[0].astype(int) - draw(level=quiet, seed=s)[0]
    ).max()
    for s in range(5)
  ]
  assert max(changed) > 20
