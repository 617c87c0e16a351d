"""The PyTorch twin of a model, for what only torch or both can answer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.interop import exported
from slan_jax.models import config


def read_twin(directory: Path) -> Any:
  """The `slan_torch.SLANModel` of an export.

  Raises:
    ImportError: torch is not installed.
    ValueError: no export.
  """
  from slan_torch import SLANModel

  return SLANModel.from_pretrained(directory)


def make_twin(
  model: config.Slan,
  params: Any,
  token_ids: dict[str, int],
  detection: Mapping[str, Any],
) -> Any:
  """The `slan_torch.SLANModel` with JAX's parameters, in evaluation mode.

  Args:
    model: complete, vocabulary included.
    params: {"slan": ..., "objective": ...}.
    token_ids: of pad, unk, cls, sep and mask.
    detection: of `export.detection_values`; what it lacks is as slan_torch has
      it.

  Raises:
    ImportError: torch is not installed.
  """
  import torch

  from slan_torch import SLANModel
  from slan_torch.config import read_config

  values = exported.config_values(
    model,
    max_length=model.text.max_positions,
    token_ids=token_ids,
    captions=True,
    learned=tuple(sorted(params.get("objective", ()))),
    dtype="float32",
    detection={**detection, "learned": "localisation" in params},
  )
  twin = SLANModel(read_config(json.loads(json.dumps(values)), "the model"))
  arrays = exported.to_tensors(params, "float32")
  # Copies: torch must not train what JAX may still read.
  twin.load_state_dict({k: torch.tensor(v) for k, v in arrays.items()})
  return twin.eval()


def to_torch(array: Any) -> Any:
  """A tensor with a copy of an array: torch warns of what it may not write."""
  import torch

  return torch.tensor(np.asarray(array))
