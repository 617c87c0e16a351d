"""An export in and out of a model: config.json and model.safetensors."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from slan_torch.config import ExportError, read_config

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# What is said of one model's weights and not of others'.
OWN = (CONFIG, WEIGHTS, "README.md", "calibration.json")
_LISTED = 8  # names in an error


def read_json(path: Path) -> dict:
  """A JSON object.

  Raises:
    ExportError: missing or damaged.
  """
  try:
    return json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise ExportError(
      f"{path}: not readable as JSON, so {path.parent} is no export "
      f"(slan-export writes one): {error}"
    ) from error


class Pretrained:
  """What `SLANModel` gains: `from_pretrained` and `save_pretrained`.

  Attributes:
    source: the export that the model was read from; None = none.
    values: its config.json.
  """

  source: Path | None = None
  values: dict[str, Any] | None = None

  @classmethod
  def from_pretrained(
    cls, directory: str | Path, *, dtype: torch.dtype = torch.float32
  ):
    """The model of an export, in evaluation mode, on the CPU.

    Args:
      directory: what slan-export or `save_pretrained` wrote.
      dtype: of the parameters.

    Raises:
      ExportError: no export, of another version, or tensors that are missing,
        unexpected, misshaped or not finite.
    """
    directory = Path(directory)
    values = read_json(directory / CONFIG)
    with torch.device("meta"):
      model = cls(read_config(values, str(directory / CONFIG)))
    path = directory / WEIGHTS
    try:
      tensors = load_file(path)
    except (OSError, SafetensorError) as error:
      raise ExportError(f"{path}: missing or damaged ({error})") from error
    _check(tensors, model.state_dict(), path)
    model.load_state_dict(
      {name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True
    )
    model.restore_constants()
    model.source, model.values = directory, values
    return model.eval()

  def save_pretrained(self, directory: str | Path, *, force: bool = False):
    """Writes the model where `from_pretrained` and slan_jax read it.

    Tokenizer and preprocessing files come along from the export that the model
    was read from; its model card and calibration, which tell of that one's
    weights, do not. The directory appears whole or not at all.

    Args:
      directory: must not exist, unless `force`.
      force: replace an export.

    Raises:
      FileExistsError: it exists.
      ValueError: the model was not read from an export.
    """
    if self.source is None:
      raise ValueError("only a model of from_pretrained has files to save with")
    directory = Path(directory).absolute()
    if directory.exists() and not (force and (directory / WEIGHTS).is_file()):
      raise FileExistsError(
        f"{directory} exists; force=True replaces an export, nothing else"
      )
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=".slan-"))
    try:
      os.chmod(partial, 0o755)
      for file in self.source.iterdir():
        if file.is_file() and file.name not in OWN:
          shutil.copy(file, partial)
      name = str(self.matching.weight.dtype).removeprefix("torch.")
      values = self.values | {"dtype": name}
      (partial / CONFIG).write_text(json.dumps(values, indent=2) + "\n")
      tensors = {k: v.contiguous() for k, v in self.state_dict().items()}
      save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
      (partial / WEIGHTS).chmod(0o644)
      if directory.exists():
        shutil.rmtree(directory)
      partial.rename(directory)
    except BaseException:
      shutil.rmtree(partial, ignore_errors=True)
      raise


def _check(tensors: dict, wanted: dict, path: Path) -> None:
  faults = {
    "missing": sorted(set(wanted) - set(tensors)),
    "unexpected": sorted(set(tensors) - set(wanted)),
    "misshaped": [
      f"{name} {tuple(tensors[name].shape)}, not {tuple(like.shape)}"
      for name, like in wanted.items()
      if name in tensors and tensors[name].shape != like.shape
    ],
    "not finite": [
      name
      for name, tensor in tensors.items()
      if not torch.isfinite(tensor).all()
    ],
  }
  found = [
    f"{kind}: {', '.join(names[:_LISTED])}"
    + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    for kind, names in faults.items()
    if names
  ]
  if found:
    raise ExportError(
      f"{path} does not fit its config.json; " + "; ".join(found)
    )
