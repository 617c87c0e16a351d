"""A trained model as a directory that Hugging Face tools and torch read."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from slan_jax.interop import exported
from slan_jax.interop.tensor_file import write_tensors
from slan_jax.models import config

# Of the parameters that are in memory at once while they are written.
PART_BYTES = 2**28
CALIBRATION = "calibration.json"
# Keys of the configuration's sections localisation and detection.
_REGIONS = ("top", "threshold", "temperature", "nothing", "fit")
_PROMPTS = ("nms", "opening", "separator", "prompt_classes", "max_length")

# Name in a tokenizer's configuration -> mark.
_MARKS = {
  "pad_token": "[PAD]",
  "unk_token": "[UNK]",
  "cls_token": "[CLS]",
  "sep_token": "[SEP]",
  "mask_token": "[MASK]",
}


class Trained(NamedTuple):
  """What an export is made of.

  Attributes:
    model: complete, vocabulary included.
    params: {"slan": ..., "objective": ...}; arrays, or shapes of what
      `write_weights` reads piece by piece.
    tokenizer: text of tokenizer.json.
    token_ids: of pad, unk, cls, sep and mask.
    max_length: tokens of every text.
    captions: whether the text decoder learned to write captions.
    card: text of the model card.
    training: the whole configuration of the run, as JSON values.
    calibration: contents of calibration.json; None = never fitted.
    prompt: token ids that captions begin with.
  """

  model: config.Slan
  params: Any
  tokenizer: str
  token_ids: dict[str, int]
  max_length: int
  captions: bool
  card: str
  training: dict[str, Any]
  calibration: dict[str, Any] | None = None
  prompt: tuple[int, ...] = ()

  @property
  def learned(self) -> tuple[str, ...]:
    """Names of what the objective learned."""
    return tuple(sorted(self.params.get("objective", ())))

  @property
  def detection(self) -> dict[str, Any] | None:
    """How it detects, as slan_torch reads it; None = no run has told."""
    if "detection" not in self.training or "localisation" not in self.training:
      return None
    learned = "localisation" in self.params
    return detection_values(self.training) | {"learned": learned}

  @property
  def writing(self) -> dict[str, Any] | None:
    """How it writes, as slan_torch reads it; None = no run has told."""
    try:
      found = {k: self.training[k]["write"] for k in ("captioning", "vqa")}
    except KeyError:
      return None
    return found | {"prompt": list(self.prompt)}


def detection_values(training: Mapping[str, Any]) -> dict[str, Any]:
  """How a run detects and grounds, but for what it learned of that.

  Args:
    training: its whole configuration.
  """
  detection, localisation = training["detection"], training["localisation"]
  return {
    **{k: localisation[k] for k in _REGIONS},
    **{k: detection[k] for k in _PROMPTS},
    "phrases": training["task"] == "grounding",
  }


def write_weights(
  directory: Path,
  trained: Trained,
  dtype: str,
  read: Callable[[Any], Any] | None = None,
) -> None:
  """Writes model.safetensors and the model card.

  Args:
    directory: exists.
    trained: the model.
    dtype: key of `exported.DTYPES`.
    read: gives the arrays of a part of `trained.params`, which then holds
      shapes; None = they are arrays already.

  Raises:
    ValueError: a value does not fit into the type.
  """
  write_tensors(
    directory / exported.WEIGHTS,
    exported.shapes(trained.params),
    dtype,
    (
      exported.to_tensors(read(part) if read else part, dtype)
      for part in exported.parts(trained.params, PART_BYTES)
    ),
  )
  (directory / "README.md").write_text(trained.card, "utf-8")


def write_companions(directory: Path, trained: Trained, dtype: str) -> None:
  """Writes what every format has: configurations and tokenizer.

  Args:
    directory: exists.
    trained: the model.
    dtype: of the weights.
  """
  _write_json(directory / "config.json", config_values(trained, dtype))
  _write_json(directory / exported.TRAINING, trained.training)
  _write_json(directory / "preprocessor_config.json", _images(trained.model))
  _write_json(directory / "tokenizer_config.json", _texts(trained.max_length))
  _write_json(directory / "special_tokens_map.json", _MARKS)
  (directory / "tokenizer.json").write_text(trained.tokenizer, "utf-8")
  if trained.calibration:
    _write_json(directory / CALIBRATION, trained.calibration)


def config_values(trained: Trained, dtype: str) -> dict[str, Any]:
  """config.json of an export."""
  values = exported.config_values(
    trained.model,
    max_length=trained.max_length,
    token_ids=trained.token_ids,
    captions=trained.captions,
    learned=trained.learned,
    dtype=dtype,
    detection=trained.detection,
    writing=trained.writing,
  )
  return json.loads(json.dumps(values))  # tuples as the lists of a file


def _images(model: config.Slan) -> dict[str, Any]:
  """preprocessor_config.json: squeezed to a square, bicubic, normalised."""
  return {
    "image_processor_type": "ViTImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": model.image_size, "width": model.image_size},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(model.image_mean),
    "image_std": list(model.image_std),
  }


def _texts(max_length: int) -> dict[str, Any]:
  return {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": max_length,
    "padding_side": "right",
    **_MARKS,
  }


def _write_json(path: Path, values: dict[str, Any]) -> None:
  path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
