"""What a new run starts from: `config.init_from`."""

import dataclasses
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from tokenizers import Tokenizer

from slan_jax.input.errors import InputError
from slan_jax.input.text import TextEncoder, load_encoder
from slan_jax.interop import exported
from slan_jax.interop.convert import flatten, nested
from slan_jax.interop.problems import LoadError, raise_for
from slan_jax.jobs import pretrained, workdir
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import ConfigError, to_dataclass
from slan_jax.jobs.typed import flatten as flat_keys
from slan_jax.models import config
from slan_jax.models.vit import resize_positions
from slan_jax.training.sharding import replicated

Tree = Any
POSITIONS = "slan/backbone/position"  # of a ViT: grows with the image
MODEL, LEARNED = "slan", "objective"
# Settings of the model that change nothing of what it is.
FREE = ("image_size", "remat", "compute_dtype")


@dataclasses.dataclass(frozen=True)
class Start:
  """Parameters in place of random ones, and what to tell about them.

  Attributes:
    weights: part of the model -> arrays of published weights.
    arrays: path -> array of an earlier run.
    notes: lines for the user.
  """

  weights: dict[str, Tree] = dataclasses.field(default_factory=dict)
  arrays: dict[str, Any] = dataclasses.field(default_factory=dict)
  notes: list[str] = dataclasses.field(default_factory=list)

  def graft(self, params: Tree) -> Tree:
    """Parameters with these in place of the random ones.

    Args:
      params: of the task, where they shall live.

    Returns:
      The tree; what is new has its own memory and the old one's sharding.
    """
    params = pretrained.graft(params, self.weights)
    leaves, structure = jax.tree.flatten(params)
    return structure.unflatten(
      pretrained.placed(self.arrays[path], leaf)
      if path in self.arrays
      else leaf
      for path, leaf in zip(flatten(params), leaves)
    )


class _Origin(NamedTuple):
  """An earlier model before any of its arrays are read.

  Attributes:
    model: its settings, flat.
    tokenizer: text of its tokenizer.json.
    shapes: path -> shape.
    read: (path -> where its array shall live) -> path -> array.
  """

  model: dict[str, Any]
  tokenizer: str
  shapes: dict[str, tuple[int, ...]]
  read: Any


def read_start(experiment: Experiment, encoder: TextEncoder, like: Tree):
  """Reads what `init_from` names, all of it or nothing.

  Args:
    experiment: complete, as the new run's.
    encoder: its tokenizer.
    like: shapes and shardings of its parameters.

  Returns:
    A `Start`; an empty one when nothing is named.

  Raises:
    LoadError, InputError: it does not fit or cannot be read; all that is
      wrong is listed.
    ConfigError: `init_from` names a run and published weights at once.
  """
  chosen = experiment.init_from
  if not chosen.run:
    weights = pretrained.read_weights(experiment, like)
    notes = pretrained.notes(experiment, weights)
    return Start(weights=weights, notes=notes)
  if parts := [source.part for source in pretrained.sources(experiment)]:
    raise ConfigError(
      f"init_from.run starts the whole model; init_from.{parts[0]} must be "
      'empty ("") beside it'
    )
  directory = epath.Path(chosen.run)
  open_origin = _of_export if exported.is_export(directory) else _of_run
  origin = open_origin(directory, chosen.checkpoint)
  _check_tokenizer(directory, origin.tokenizer, encoder)
  return _taken_over(directory, origin, experiment, like)


def _of_run(directory: epath.Path, checkpoint: str) -> _Origin:
  """A work directory, also one that other tasks or versions have left."""
  try:
    values = json.loads((directory / workdir.CONFIG).read_text())["config"]
    text, data, model = values["text"], values["data"], values["model"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise LoadError(
      f"init_from.run={directory}: neither the work directory of a run nor an "
      f"export ({error})"
    ) from error
  checkpoints = workdir.open_checkpoints(directory)
  step = workdir.choose_step(checkpoints, checkpoint)
  try:
    encoder = load_encoder(text["tokenizer"], text["max_length"], data["dir"])
  except InputError as error:
    raise InputError(
      f"init_from.run={directory}: {error}. Or start from an export of that "
      "run (slan-export), which brings its tokenizer"
    ) from error

  def read(places: dict[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
    return flatten(checkpoints.restore_part(step, "params", nested(places)))

  held = checkpoints.shapes(step, "params")
  shapes = {name: leaf.shape for name, leaf in held.items()}
  return _Origin(flat_keys(model), encoder.to_json(), shapes, read)


def _of_export(directory: epath.Path, checkpoint: str) -> _Origin:
  """A directory that slan-export wrote; it holds one model only."""
  if checkpoint != "last":
    raise ConfigError(
      f"init_from.checkpoint={checkpoint}: {directory} is an export, which "
      "holds one model"
    )
  values = exported.read_config(directory)
  model = to_dataclass(values["model"], config.Slan)
  template = exported.template_of(values, model)
  path = directory / "tokenizer.json"
  if not path.is_file():
    raise LoadError(f"{path}: missing; export again")

  def read(places: dict[str, jax.ShapeDtypeStruct]) -> dict[str, np.ndarray]:
    found = flatten(exported.load_export(directory, template))
    return {name: found[name] for name in places}

  shapes = {name: leaf.shape for name, leaf in flatten(template).items()}
  tokenizer = path.read_text("utf-8")
  return _Origin(flat_keys(values["model"]), tokenizer, shapes, read)


def _check_tokenizer(
  directory: epath.Path, theirs: str, ours: TextEncoder
) -> None:
  """Refuses other words, or the same ones in another order."""
  there = Tokenizer.from_str(theirs).get_vocab()
  here = Tokenizer.from_str(ours.to_json()).get_vocab()
  if there == here:
    return
  missing = sorted(here.keys() - there.keys())
  known = ", ".join(missing[:8]) or "none, but their order differs"
  raise LoadError(
    f"init_from.run={directory}: its tokenizer has {len(there)} words, this "
    f"run's {len(here)}; unknown there: {known}. Set text.tokenizer to the "
    "tokenizer of that run, or prepare the data with it"
  )


def _taken_over(
  directory: epath.Path, origin: _Origin, experiment: Experiment, like: Tree
) -> Start:
  """Checks every name and shape, then reads."""
  wanted = flatten(like)
  theirs = {
    name: shape
    for name, shape in origin.shapes.items()
    if name.startswith(f"{MODEL}/") or name in wanted
  }
  faults = {"missing": [], "unexpected": [], "misshaped": []}
  for name in wanted:
    if name.startswith(f"{MODEL}/") and name not in theirs:
      faults["missing"].append(name)
  for name, shape in theirs.items():
    if name not in wanted:
      faults["unexpected"].append(name)
    elif shape != tuple(wanted[name].shape) and name != POSITIONS:
      here = tuple(wanted[name].shape)
      faults["misshaped"].append(f"{name}: run {shape}, model {here}")
  raise_for(faults, f"init_from.run={directory}")
  # Positions of another image size are small: whole on every device.
  mesh = jax.tree.leaves(like)[0].sharding.mesh
  arrays = origin.read(
    {
      name: jax.ShapeDtypeStruct(
        shape,
        wanted[name].dtype,
        sharding=wanted[name].sharding
        if shape == tuple(wanted[name].shape)
        else replicated(mesh),
      )
      for name, shape in theirs.items()
    }
  )
  notes = [f"Starting from {directory}: {len(arrays)} arrays"]
  if POSITIONS in arrays and arrays[POSITIONS].shape != wanted[POSITIONS].shape:
    side = round((wanted[POSITIONS].shape[0] - 1) ** 0.5)
    resized = resize_positions(jnp.asarray(arrays[POSITIONS]), side)
    arrays[POSITIONS] = np.asarray(resized)
    notes.append(f"{POSITIONS}: resized to {side} x {side} patches")
  if fresh := [name for name in wanted if name not in arrays]:
    notes.append(f"starting at random: {', '.join(_groups(fresh))}")
  notes += _differences(origin.model, experiment)
  return Start(arrays=arrays, notes=notes)


def _groups(names: list[str]) -> list[str]:
  """First two parts of names: what a reader calls a head."""
  return sorted({"/".join(name.split("/")[:2]) for name in names})


def _differences(theirs: dict[str, Any], experiment: Experiment) -> list[str]:
  """Settings of the model that shapes do not show."""
  ours = flat_keys(dataclasses.asdict(experiment.model))
  return [
    f"model.{key} was {theirs.get(key)!r} there and is {value!r} here"
    for key, value in ours.items()
    if key not in FREE and theirs.get(key) != value
  ]
