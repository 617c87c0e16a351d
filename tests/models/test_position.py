"""Sine codes against DETR's stored values and against loops."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models import position


def test_sine_code_of_cells_matches_detr(test_data: Path | None):
  """Stored values of DETR's code on padded maps; else its formula in loops."""
  if test_data is None:
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 2:] = mask[1, :, 3:] = True
    expected = sine_by_loops(~mask, 8)
  else:
    stored = np.load(test_data / "oracle/detr_sine_pos.npz")
    mask = stored["mask"]
    expected = stored["pos_num_pos_feats32_normalized"].transpose(0, 2, 3, 1)
  height, columns, width = expected.shape[1:]
  code = position.sine_position_2d(height, columns, width, ~mask)
  np.testing.assert_allclose(code, expected, atol=1e-5)
  if not mask[0].any():
    plain = position.sine_position_2d(height, columns, width)
    np.testing.assert_allclose(plain, expected[0], atol=1e-5)


def sine_by_loops(mask: np.ndarray, width: int) -> np.ndarray:
  code = np.zeros((*mask.shape, width))
  for b, i, j in np.ndindex(mask.shape):
    y = mask[b, : i + 1, j].sum() / (mask[b, :, j].sum() + 1e-6)
    x = mask[b, i, : j + 1].sum() / (mask[b, i].sum() + 1e-6)
    for half, place in enumerate((y, x)):
      for k in range(width // 2):
        angle = 2 * np.pi * place / 10_000 ** (2 * (k // 2) / (width // 2))
        wave = np.cos(angle) if k % 2 else np.sin(angle)
        code[b, i, j, half * width // 2 + k] = wave
  return code


def test_sine_code_of_points():
  """A point codes as the cell whose far corner it is; widths must split."""
  cells = position.sine_position_2d(2, 4, 16)
  point = position.sine_position(jnp.array([0.75, 0.5]), 16)
  np.testing.assert_allclose(point, cells[0, 2], atol=1e-4)
  with pytest.raises(ValueError, match="multiple of 4"):
    position.sine_position(jnp.zeros((1, 2)), 10)
