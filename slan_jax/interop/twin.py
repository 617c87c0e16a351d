"""The PyTorch twin of a model, for what only torch or both can answer."""

from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.interop import exported
from slan_jax.interop.export import Trained, config_values


def read_twin(directory: Path) -> Any:
  """The `slan_torch.SLANModel` of an export.

  Raises:
    ImportError: torch is not installed.
    ValueError: no export.
  """
  from slan_torch import SLANModel

  return SLANModel.from_pretrained(directory)


def write_captions(
  trained: Trained, images: np.ndarray, *, beams: int, longest: int
) -> np.ndarray:
  """Captions by the text decoder, see `SLANModel.caption`.

  Args:
    trained: the model.
    images: uint8 [B, S, S, 3].
    beams: 1 = greedy.
    longest: tokens at most.

  Returns:
    int [B, n] token ids, [PAD] behind the end.

  Raises:
    ImportError: torch is not installed.
  """
  import torch

  from slan_torch import SLANModel
  from slan_torch.config import read_config

  values = config_values(trained, "float32")
  model = SLANModel(read_config(values, "the model"))
  arrays = exported.to_tensors(trained.params, "float32")
  model.load_state_dict({k: torch.tensor(v) for k, v in arrays.items()})
  ids = model.eval().caption(torch.tensor(images), beams=beams, longest=longest)
  return ids.numpy()
