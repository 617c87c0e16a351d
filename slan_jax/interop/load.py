"""Published weights in: BERT, ViT, ResNet and DETR, from torch's files.

A path is a directory as the Hugging Face hub lays it out, a `.safetensors`
file, or a torch state dict (`.bin`, `.pt`, `.pth`; needs torch, and is read
without running any code of the file).
"""

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from slan_jax.interop import convert, names
from slan_jax.interop.problems import LoadError

_TYPES = {
  "F64": np.float64,
  "F32": np.float32,
  "F16": np.float16,
  "BF16": ml_dtypes.bfloat16,
}
_FILES = ("model.safetensors", "pytorch_model.bin")
_INDEX = "model.safetensors.index.json"
# Where training scripts put the state dict inside a checkpoint.
_INNER = ("model", "state_dict", "model_state_dict")
_HEADS = ("num_attention_heads", "encoder_attention_heads")


def load(
  path: str | Path,
  kind: str,
  template_params: Any,
  *,
  heads: int | None = None,
  resize_positions: bool = False,
  ignore: tuple[str, ...] = (),
) -> Any:
  """New parameters of one part of the model from a file of weights.

  Args:
    path: directory, `.safetensors` file or torch state dict.
    kind: one of `names.KINDS`.
    template_params: parameters of that part; their shapes and types are kept.
    heads: attention heads of the model, checked where a config.json names its
      own: they leave no trace in the shapes.
    resize_positions: resize a ViT's position table of another image size.
    ignore: starts of names in the file that are passed over.

  Returns:
    Tree of numpy arrays like `template_params`.

  Raises:
    LoadError: unreadable or unsafe file, another architecture, or arrays
      missing, unexpected or misshaped. Nothing is loaded then.
  """
  path = Path(path)
  tensors, config = read(path)
  if config is not None:
    _check_config(names.KINDS[kind], config, heads, path)
  adapt = _resize_positions if resize_positions else None
  return convert.from_torch(
    names.KINDS[kind],
    tensors,
    template_params,
    source=str(path),
    adapt=adapt,
    ignore=ignore,
  )


def inventory(
  path: str | Path, kind: str, template_params: Any
) -> list[tuple[str, convert.Shape, str]]:
  """What `load` reads of a file that fits.

  Args:
    path: as `load`.
    kind: one of `names.KINDS`.
    template_params: parameters of that part, or their shapes.

  Returns:
    Name in the file (without prefixes), its shape there, and our path; one
    row per array of the model, or per layer of a stacked one.
  """
  table = names.KINDS[kind]
  tensors = convert.strip(table, read(Path(path))[0], ())
  slots = convert.best_slots(table, tensors, template_params, str(path))
  return [(slot.name, tensors[slot.name].shape, slot.path) for slot in slots]


def _resize_positions(
  path: str, array: np.ndarray, shape: convert.Shape
) -> np.ndarray:
  # Imported here: reading names and files needs no model code.
  from slan_jax.models import vit

  if path != "position":
    return array
  side = round((shape[0] - 1) ** 0.5)
  return np.asarray(vit.resize_positions(array.astype(np.float32), side))


def read(path: Path) -> tuple[convert.Tensors, dict[str, Any] | None]:
  """Arrays by torch name, and the config.json beside them if there is one.

  Raises:
    LoadError: no such path, no weights in it, or a file that cannot be read.
  """
  if not path.exists():
    raise LoadError(f"{path}: no such file or directory")
  if path.is_file():
    return _read_file(path), None
  config = None
  if (path / "config.json").is_file():
    config = read_json(path / "config.json")
  if (path / _INDEX).is_file():
    index = read_json(path / _INDEX).get("weight_map", {})
    tensors: convert.Tensors = {}
    for name in sorted(set(index.values())):
      tensors |= _read_file(path / Path(name).name)
    return tensors, config
  for name in _FILES:
    if (path / name).is_file():
      return _read_file(path / name), config
  raise LoadError(f"{path}: holds none of {', '.join((*_FILES, _INDEX))}")


def read_json(path: Path) -> dict[str, Any]:
  """A file that holds a JSON object.

  Raises:
    LoadError: missing, damaged, or another kind of JSON.
  """
  try:
    value = json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise LoadError(f"{path}: not readable as JSON: {error}") from error
  if not isinstance(value, dict):
    raise LoadError(f"{path}: expected a JSON object")
  return value


def _read_file(path: Path) -> convert.Tensors:
  if path.suffix == ".safetensors":
    return _read_safetensors(path)
  return _read_torch(path)


def _read_safetensors(path: Path) -> convert.Tensors:
  try:
    entries = safetensors.deserialize(path.read_bytes())
  except (OSError, safetensors.SafetensorError) as error:
    raise LoadError(
      f"{path}: damaged or truncated safetensors file ({error}); fetch it again"
    ) from error
  tensors = {}
  for name, entry in entries:
    if entry["dtype"] not in _TYPES:
      continue  # position ids and the like; a weight is then named as missing
    array = np.frombuffer(entry["data"], _TYPES[entry["dtype"]])
    tensors[name] = array.reshape(entry["shape"])
  return tensors


def _read_torch(path: Path) -> convert.Tensors:
  try:
    import torch
  except ImportError as error:
    raise LoadError(
      f"{path}: a torch file; install slan_jax[torch] or convert it to "
      "safetensors"
    ) from error
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of odd pickles: refused just below
      state = torch.load(path, map_location="cpu", weights_only=True)
  except pickle.UnpicklingError as error:
    raise LoadError(
      f"{path}: refused, the pickle holds more than arrays and could run code; "
      "use safetensors or a plain state dict"
    ) from error
  except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
    raise LoadError(f"{path}: damaged torch file ({error})") from error
  for key in _INNER:
    if isinstance(state, dict) and isinstance(state.get(key), dict):
      state = state[key]
  if not isinstance(state, dict):
    raise LoadError(f"{path}: expected a state dict, found {type(state)}")
  return {
    str(name): tensor.float().numpy()
    for name, tensor in state.items()
    if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
  }


def _check_config(
  kind: names.Kind, config: dict[str, Any], heads: int | None, path: Path
) -> None:
  """Refuses what the shapes of the arrays would not show."""
  model_type = config.get("model_type")
  if model_type is not None and model_type not in kind.model_types:
    raise LoadError(
      f"{path}: config.json says model_type {model_type!r}, expected "
      f"{' or '.join(kind.model_types)}"
    )
  for key, value in kind.required.items():
    if config.get(key, value) != value:
      raise LoadError(
        f"{path}: config.json says {key}={config[key]!r}; only {value!r} is "
        "supported"
      )
  for key in _HEADS:
    if heads is not None and config.get(key, heads) != heads:
      raise LoadError(
        f"{path}: config.json says {key}={config[key]}, the model has {heads} "
        "heads"
      )
