"""Draws a scene: background, shaded textured objects, light and noise."""

import functools
import math

import cv2
import numpy as np

from data.scene import COLOURS, Item, Level

_SUPERSAMPLE = 4  # side of the sub-pixel grid that smooths outlines
_COARSE = 5  # side of the grid that the background is interpolated from


def draw_scene(
  items: list[Item], level: Level, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Picture and tight boxes of a scene.

  Args:
    items: Objects in drawing order.
    level: Side of the picture and amount of clutter.
    rng: Source of background, shading, light and noise.

  Returns:
    Picture [S, S, 3] uint8 RGB and the boxes [n, 4] float32 of the pixels of
    each object that remain visible, xyxy in [0, 1] of the image.
  """
  side = level.side
  canvas = _background(rng, side)
  _clutter(rng, canvas, level.clutter)
  light = rng.uniform(0, 2 * math.pi)
  visible = np.full((side, side), -1, np.int32)
  for number, item in enumerate(items):
    rows, columns, alpha, colour = _stamp(rng, item, side, light)
    _shadow(canvas, rows, columns, alpha, light)
    patch = canvas[rows, columns]
    patch += alpha[..., None] * (colour - patch)
    visible[rows, columns][alpha > 0.5] = number
  shine = _ramp(side, light, rng.uniform(0.0, 0.15))
  canvas = cv2.multiply(canvas, cv2.merge([shine] * 3))
  noise = _noise(rng, side)
  picture = cv2.addWeighted(
    canvas, 1.0, noise, rng.uniform(5, 9), 0.0, dtype=cv2.CV_8U
  )
  boxes = [_tight_box(visible == number) for number in range(len(items))]
  return picture, np.array(boxes, np.float32)


def outline(shape: str, angle: float) -> list[np.ndarray]:
  """Closed contours [m, 2] of a shape whose larger extent is 1, about 0."""
  contours = [_rotated(points, angle) for points in _CONTOURS[shape]]
  low, high = contours[0].min(0), contours[0].max(0)
  scale = (high - low).max()
  return [(points - (low + high) / 2) / scale for points in contours]


def _polygon(corners: int, start: float, radius: float = 1.0) -> np.ndarray:
  angles = start + 2 * math.pi * np.arange(corners) / corners
  return radius * np.stack([np.cos(angles), np.sin(angles)], -1)


def _star() -> np.ndarray:
  points = _polygon(10, -math.pi / 2)
  points[1::2] *= 0.45
  return points


def _cross() -> np.ndarray:
  corner = np.array([(0.36, 1.0), (0.36, 0.36), (1.0, 0.36)])
  turned = corner[:, ::-1] * (1, -1)
  return np.concatenate([corner, turned, -corner, -turned])


def _rotated(points: np.ndarray, angle: float) -> np.ndarray:
  cos, sin = math.cos(angle), math.sin(angle)
  return points @ np.array([[cos, sin], [-sin, cos]])


_CONTOURS = {
  "circle": [_polygon(40, 0.0)],
  "square": [_polygon(4, math.pi / 4)],
  "triangle": [_polygon(3, -math.pi / 2)],
  "star": [_star()],
  "ring": [_polygon(40, 0.0), _polygon(40, 0.0, 0.52)],  # even-odd: a hole
  "cross": [_cross()],
}


def _background(rng: np.random.Generator, side: int) -> np.ndarray:
  """[S, S, 3] float32: a gradient between two tones, mottled."""
  base = rng.uniform(80, 190)
  ends = base + rng.uniform(-30, 30, (2, 1)) + rng.uniform(-16, 16, (2, 3))
  mix = _ramp(_COARSE, rng.uniform(0, 2 * math.pi), 0.5)[..., None] - 0.5
  coarse = ends[0] + mix * (ends[1] - ends[0])
  coarse += rng.uniform(-9, 9, coarse.shape)
  coarse = coarse.astype(np.float32)
  return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


@functools.cache
def _noise_bank() -> np.ndarray:
  """Normal noise from which every picture takes a window: drawing afresh for
  each one would take a tenth of the whole preparation."""
  rng = np.random.default_rng(0)
  return rng.standard_normal((512, 512, 3), np.float32)


def _noise(rng: np.random.Generator, side: int) -> np.ndarray:
  bank = _noise_bank()
  top, left = rng.integers(0, len(bank) - side, 2)
  return bank[top : top + side, left : left + side]


def _ramp(side: int, direction: float, depth: float) -> np.ndarray:
  """[S, S] float32 rising along a direction from 1 - depth to 1 + depth."""
  axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
  cos, sin = math.cos(direction), math.sin(direction)
  reach = abs(cos) + abs(sin)
  return 1 + depth / reach * (cos * axis + sin * axis[:, None])


def _clutter(rng: np.random.Generator, canvas: np.ndarray, most: int) -> None:
  """Faint strokes and specks of no particular shape, behind the objects."""
  side = len(canvas)
  for _ in range(int(rng.integers(0, most + 1))):
    start = rng.uniform(0, side, 2)
    step = rng.uniform(-0.12, 0.12, 2) * side
    tone = canvas[int(start[1]), int(start[0])] + rng.uniform(-38, 38, 3)
    width = int(rng.integers(1, 4))
    ends = [tuple(int(v) for v in np.rint(p)) for p in (start, start + step)]
    cv2.line(canvas, *ends, tone.tolist(), width, cv2.LINE_AA)


def _stamp(
  rng: np.random.Generator, item: Item, side: int, light: float
) -> tuple[slice, slice, np.ndarray, np.ndarray]:
  """Place, coverage [h, w] and colour [h, w, 3] of one object."""
  extent = item.extent * side
  reach = extent / 2 + 2
  x, y = item.x * side, item.y * side
  left, top = max(int(x - reach), 0), max(int(y - reach), 0)
  right = min(math.ceil(x + reach), side)
  bottom = min(math.ceil(y + reach), side)
  alpha = _coverage(
    item, extent, (x - left, y - top), right - left, bottom - top
  )
  horizontal = np.arange(left, right, dtype=np.float32) + 0.5 - np.float32(x)
  vertical = np.arange(top, bottom, dtype=np.float32) + 0.5 - np.float32(y)
  base = np.array(COLOURS[item.colour], np.float32)
  base = base + rng.uniform(-12, 12, 3).astype(np.float32)
  cos, sin = math.cos(light), math.sin(light)
  slope = (cos * horizontal + sin * vertical[:, None]) / extent
  depth = np.float32(rng.uniform(0.1, 0.35))
  colour = base * (1 + depth * slope)[..., None]
  if item.texture != "plain":
    marks = _texture(rng, item, extent, horizontal, vertical)
    colour += marks[..., None] * (_contrast(base) - colour)
  return slice(top, bottom), slice(left, right), alpha, colour


def _coverage(
  item: Item,
  extent: float,
  centre: tuple[float, float],
  width: int,
  height: int,
) -> np.ndarray:
  fine = np.zeros((height * _SUPERSAMPLE, width * _SUPERSAMPLE), np.uint8)
  contours = [
    np.rint((points * extent + centre) * _SUPERSAMPLE * 16 - 8).astype(np.int32)
    for points in outline(item.shape, item.angle)
  ]
  cv2.fillPoly(fine, contours, 255, cv2.LINE_8, shift=4)
  small = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
  return small.astype(np.float32) / 255


def _texture(
  rng: np.random.Generator,
  item: Item,
  extent: float,
  horizontal: np.ndarray,
  vertical: np.ndarray,
) -> np.ndarray:
  """[h, w] float32 in [0, 1]: where the second tone shows."""
  period = max(4.0, extent * rng.uniform(0.26, 0.34))
  turn = item.angle + (rng.integers(2) * math.pi / 2 + math.pi / 4)
  if item.texture == "checked":
    turn, period = item.angle, period * 1.4
  frequency = np.float32(2 * math.pi / period)
  cos, sin = math.cos(turn), math.sin(turn)
  u = frequency * (cos * horizontal + sin * vertical[:, None])
  v = frequency * (cos * vertical[:, None] - sin * horizontal)
  if item.texture == "striped":
    wave = np.sin(u)
  elif item.texture == "dotted":
    wave = np.cos(u) + np.cos(v) - 0.7
  else:
    wave = 2 * np.sin(u) * np.sin(v)
  return np.clip(1.5 * wave + 0.5, 0, 1)


def _contrast(base: np.ndarray) -> np.ndarray:
  """A second tone: darker for bright colours, whiter for dark ones."""
  if base @ np.array([0.3, 0.59, 0.11], np.float32) > 140:
    return base * np.float32(0.4)
  return base + np.float32(0.72) * (250 - base)


def _shadow(
  canvas: np.ndarray,
  rows: slice,
  columns: slice,
  alpha: np.ndarray,
  light: float,
) -> None:
  """Soft shadow on the side away from the light, inside the stamp's patch."""
  move = np.array(
    [[1, 0, -1.5 * math.cos(light)], [0, 1, -1.5 * math.sin(light)]]
  )
  shade = cv2.warpAffine(alpha, move, alpha.shape[::-1])
  shade = cv2.blur(shade, (3, 3))
  canvas[rows, columns] *= 1 - 0.3 * shade[..., None]


def _tight_box(mask: np.ndarray) -> tuple[float, float, float, float]:
  columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
  if not len(columns):
    return 0.0, 0.0, 0.0, 0.0
  side = len(mask)
  return (
    columns[0] / side,
    rows[0] / side,
    (columns[-1] + 1) / side,
    (rows[-1] + 1) / side,
  )
