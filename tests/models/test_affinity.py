import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.models import affinity


def test_a_peak_spreads_over_its_object_only():
  # Left half red, right half blue; one coarse cell of the left half lit.
  image = np.zeros((1, 32, 32, 3), np.float32)
  image[:, :, :16, 0] = image[:, :, 16:, 2] = 1.0
  cues = (affinity.look(jnp.array(image), side) for side in (16, 8))
  weights = affinity.neighbour_weights(
    *cues, window=15, scale=60.0, distance=1.0
  )
  peak = jnp.zeros((1, 8, 8, 1)).at[0, 4, 2].set(1.0)
  spread = affinity.spread(peak, weights)[0, ..., 0]
  assert spread[:, :7].min() > 1e-3
  assert spread[:, 9:].max() < 1e-6
  flat = affinity.spread(jnp.ones((1, 8, 8, 1)), weights)
  np.testing.assert_allclose(flat, 1.0, rtol=1e-5)


@pytest.mark.parametrize("times", [1, 2])
def test_spreading_equals_a_loop_over_cells(times):
  rng = np.random.default_rng(0)
  maps = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
  side = 4 * times
  fine = rng.uniform(size=(1, side, side, 3)).astype(np.float32)
  coarse = rng.uniform(size=(1, 4, 4, 3)).astype(np.float32)
  weights = affinity.neighbour_weights(
    jnp.array(fine), jnp.array(coarse), window=3, scale=2.0, distance=5.0
  )
  found = affinity.spread(jnp.array(maps), weights)
  expected = np.zeros((side, side, 2))
  for y, x in np.ndindex(side, side):
    total = 0.0
    for i, j in np.ndindex(4, 4):
      if max(abs(i - y // times), abs(j - x // times)) > 1:
        continue
      unlike = np.square(fine[0, y, x] - coarse[0, i, j]).sum()
      dy = ((y + 0.5) / times - (i + 0.5)) / 2
      dx = ((x + 0.5) / times - (j + 0.5)) / 2
      weight = np.exp(-2.0 * unlike - 5.0 * (dy**2 + dx**2))
      total += weight
      expected[y, x] += weight * maps[0, i, j]
    expected[y, x] /= total
  np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
