"""RoIAlign in plain loops and float64, written apart from slan_jax.ops."""

import math

import numpy as np


def sample(image: np.ndarray, y: float, x: float) -> np.ndarray:
  """Bilinear value of `image` [H, W, D] at (y, x) cells, 0 when outside."""
  height, width, _ = image.shape
  if y < -1 or y > height or x < -1 or x > width:
    return np.zeros(image.shape[-1])
  y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
  top, left = math.floor(y), math.floor(x)
  bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
  low = image[top, left] * (left + 1 - x) + image[top, right] * (x - left)
  high = image[bottom, left] * (left + 1 - x) + image[bottom, right] * (
    x - left
  )
  return low * (top + 1 - y) + high * (y - top)


def roi_align(
  image: np.ndarray, box: np.ndarray, *, output_size: int, sampling_ratio: int
) -> np.ndarray:
  """Bins [s, s, D] of one cxcywh box (fractions) on one map [H, W, D]."""
  height, width, depth = image.shape
  box = np.asarray(box, np.float64)
  left = (box[0] - box[2] / 2) * width - 0.5
  top = (box[1] - box[3] / 2) * height - 0.5
  bin_width = box[2] * width / output_size
  bin_height = box[3] * height / output_size
  bins = np.zeros((output_size, output_size, depth))
  for i in range(output_size):
    for j in range(output_size):
      for m in range(sampling_ratio):
        for n in range(sampling_ratio):
          y = top + (i + (m + 0.5) / sampling_ratio) * bin_height
          x = left + (j + (n + 0.5) / sampling_ratio) * bin_width
          bins[i, j] += sample(image, y, x)
  return bins / sampling_ratio**2
