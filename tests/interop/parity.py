"""What parity tests share: torch modules far from their start, and ours."""

import warnings

import jax
import numpy as np
import torch

with warnings.catch_warnings():
  warnings.simplefilter("ignore")  # transformers' own deprecations
  import transformers

__all__ = ["close", "randomize", "run", "transformers"]

TOLERANCE = 1e-4


def run(module, params, *arguments):
  """Compiled apply."""
  return jax.jit(module.apply)({"params": params}, *arguments)


def randomize(module: torch.nn.Module, seed: int) -> torch.nn.Module:
  """Every array far from its initial value: biases and norms count too.

  Matrices keep the size of what passes through them, so that attention is far
  from uniform and every one of them matters to the output.
  """
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, array in module.state_dict().items():
      if not array.is_floating_point():
        continue
      noise = torch.randn(array.shape, generator=generator)
      if name.endswith("running_var"):
        array.add_(0.2 * noise.abs())
      elif "embedding" in name and array.ndim > 1:
        array.copy_(noise)
      elif array.ndim > 1:
        array.copy_(noise / array[0].numel() ** 0.5)
      else:
        array.add_(0.2 * noise)
  return module.eval()


def close(ours: jax.Array, theirs: torch.Tensor) -> None:
  np.testing.assert_allclose(
    np.asarray(ours), theirs.detach().numpy(), rtol=0, atol=TOLERANCE
  )
