"""An export in and out: config.json, model.safetensors, and JAX parameters."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from slan_jax import __version__
from slan_jax.interop import convert, load
from slan_jax.interop.own_names import SLAN
from slan_jax.interop.problems import LoadError
from slan_jax.interop.tensor_file import DTYPES
from slan_jax.models import config
from slan_jax.models.slan import Slan

FORMAT = 1  # of config.json; slan_torch reads this one
MODEL_TYPE = "slan"
WEIGHTS = "model.safetensors"
TRAINING = "training_config.json"


def config_values(
  model: config.Slan,
  *,
  max_length: int,
  token_ids: Mapping[str, int],
  captions: bool,
  learned: tuple[str, ...],
  dtype: str,
  detection: Mapping[str, Any] | None = None,
  writing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """config.json of an export, as slan_torch and slan_jax read it.

  Args:
    model: complete, vocabulary included.
    max_length: tokens of every text.
    token_ids: of pad, unk, cls, sep and mask.
    captions: whether the text decoder learned to write captions.
    learned: names of what the objective learned.
    dtype: key of `DTYPES`.
    detection: how classes become prompts and regions are scored; None = as
      slan_torch has it.
    writing: how captions and answers are written; None alike.
  """
  row = model.backbone.row
  kind = "vit" if isinstance(row, config.VitRow) else "resnet"
  return {
    "architectures": ["SLANModel"],
    "model_type": MODEL_TYPE,
    "slan_format": FORMAT,
    "slan_version": __version__,
    "dtype": dtype,
    "max_length": max_length,
    "token_ids": dict(token_ids),
    "captions": captions,
    "learned": list(learned),
    **({"detection": dict(detection)} if detection else {}),
    **({"writing": dict(writing)} if writing else {}),
    "backbone": {"kind": kind, **dataclasses.asdict(row)},
    "model": dataclasses.asdict(model),
  }


def to_tensors(params: Any, dtype: str) -> convert.Tensors:
  """Parameters under slan_torch's names.

  Args:
    params: {"slan": ..., "objective": ...} or part of it, on any device.
    dtype: key of `DTYPES`.

  Returns:
    name -> array; float32 ones may share the memory of `params`.

  Raises:
    ValueError: a value does not fit into the type.
  """
  tensors = {}
  for name, array in convert.to_torch(
    SLAN, params, dialect="slan_torch"
  ).items():
    with np.errstate(over="ignore"):
      tensors[name] = array.astype(DTYPES[dtype], copy=False)
    if not _finite(tensors[name]):
      raise ValueError(
        f"{name} is not finite as {dtype}; its largest value is "
        f"{np.abs(array).max():g}. Choose another --dtype"
      )
  return tensors


def _finite(array: np.ndarray) -> bool:
  """Whether all values are finite, without an array as large beside it."""
  ends = np.array([array.min(), array.max()], np.float32)
  return bool(np.isfinite(ends).all())


def parts(params: Any, most_bytes: int) -> Iterator[Any]:
  """Cuts parameters into parts, leaf by leaf.

  Args:
    params: tree of nested dicts, arrays or shapes.
    most_bytes: of a part, unless a single leaf is larger.

  Yields:
    Trees with some of the leaves, each at its path.
  """
  chosen: dict[str, Any] = {}
  size = 0
  for path, leaf in convert.flatten(params).items():
    if chosen and size + leaf.size * leaf.dtype.itemsize > most_bytes:
      yield convert.nested(chosen)
      chosen, size = {}, 0
    chosen[path] = leaf
    size += leaf.size * leaf.dtype.itemsize
  yield convert.nested(chosen)


def params_template(
  model: config.Slan,
  learned: tuple[str, ...],
  localisation: tuple[str, ...] = (),
) -> Any:
  """Shapes of all parameters, without any arithmetic.

  Args:
    model: complete.
    learned: names of what the objective learned.
    localisation: of what learning from boxes added.
  """
  size = model.image_size
  image = jax.ShapeDtypeStruct((1, size, size, 3), np.uint8)
  length = model.text.max_positions
  ids = jax.ShapeDtypeStruct((1, length), np.int32)
  mask = jax.ShapeDtypeStruct((1, length), bool)
  made = jax.eval_shape(Slan(model).init, jax.random.key(0), image, ids, mask)
  scalar = jax.ShapeDtypeStruct((), np.float32)
  shapes = {
    "slan": made["params"],
    "objective": {name: scalar for name in learned},
  }
  if localisation:
    shapes["localisation"] = {name: scalar for name in localisation}
  return shapes


def template_of(values: Mapping[str, Any], model: config.Slan) -> Any:
  """Shapes of the parameters of an export.

  Args:
    values: its config.json.
    model: what that says of the model.
  """
  boxes = values.get("detection", {}).get("learned", False)
  head = ("temperature", "nothing") if boxes else ()
  return params_template(model, tuple(values["learned"]), head)


def shapes(template: Any) -> dict[str, convert.Shape]:
  """Names in model.safetensors and their shapes, in torch's layout."""
  return {
    slot.name: convert.shape_in_file(slot)
    for slot in convert.slots(SLAN, "slan_torch", template)
  }


def load_export(path: str | Path, template: Any) -> Any:
  """JAX parameters of an export, also of one that torch has written since.

  Args:
    path: directory, or its model.safetensors; also in a bucket.
    template: of `params_template`; decides the types.

  Returns:
    Tree of numpy arrays like `template`.

  Raises:
    LoadError: unreadable, or arrays missing, unexpected, misshaped or not
      finite. Nothing is loaded then.
  """
  tensors, _ = load.read(epath.Path(path))
  return convert.from_torch(SLAN, tensors, template, source=str(path))


def load_part(path: str | Path, part: str, template: Any) -> Any:
  """One part of an export's model, as a run starts from it.

  Args:
    path: directory of the export.
    part: key of the model's parameters, as "detector".
    template: parameters of that part, or their shapes.

  Returns:
    Tree of numpy arrays like `template`.

  Raises:
    LoadError: as `load_export`.
  """
  tensors, _ = load.read(Path(path))
  own = {k: v for k, v in tensors.items() if k.startswith(f"{part}.")}
  tree = {"slan": {part: template}}
  return convert.from_torch(SLAN, own, tree, source=str(path))["slan"][part]


def part_inventory(
  part: str, template: Any
) -> list[tuple[str, convert.Shape, str]]:
  """What `load_part` reads: name in the file, shape there, and our path."""
  slots = convert.slots(SLAN, "slan_torch", {"slan": {part: template}})
  cut = len(f"slan/{part}/")
  return [(s.name, convert.shape_in_file(s), s.path[cut:]) for s in slots]


def is_slan(path: str | Path) -> bool:
  """Whether a directory is an export of this project, of any version."""
  config = Path(path) / "config.json"
  return (
    config.is_file() and load.read_json(config).get("model_type") == MODEL_TYPE
  )


def is_export(directory: Path) -> bool:
  """Whether a directory is an export rather than a run."""
  try:
    config = epath.Path(directory) / "config.json"
    values = json.loads(config.read_text("utf-8"))
    return "model_type" in values
  except (OSError, ValueError):
    return False


def read_config(directory: Path) -> dict[str, Any]:
  """config.json of an export, its kind and version checked.

  Raises:
    LoadError: no export, or of another version.
  """
  path = epath.Path(directory) / "config.json"
  values = load.read_json(path)
  if values.get("model_type") != MODEL_TYPE:
    raise LoadError(
      f"{path}: model_type is {values.get('model_type')!r}; {directory} is no "
      "directory that slan-export wrote"
    )
  if values.get("slan_format") != FORMAT:
    raise LoadError(
      f"{path}: slan_format is {values.get('slan_format')!r}, this version "
      f"reads {FORMAT}; export again with the same version of the project"
    )
  return values
