"""Weights that a new run starts from: `config.init_from`.

Published ones, or a part of an export of this project.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.interop import convert, exported, load
from slan_jax.interop.problems import LoadError
from slan_jax.jobs.experiment import Experiment
from slan_jax.models.config import VitRow

Tree = Any


class Source(NamedTuple):
  """A file of weights and the part of the model that it is for.

  Attributes:
    part: key of `init_from`, and of the model's parameters.
    path: as `load.load` takes it, or an export of this project.
    kind: one of `names.KINDS`.
    heads: attention heads of the part; None = it has none.
  """

  part: str
  path: str
  kind: str
  heads: int | None


def sources(experiment: Experiment) -> list[Source]:
  """The files that a configuration names."""
  chosen, model = experiment.init_from, experiment.model
  row = model.backbone.row
  vision = ("vit", row.heads) if isinstance(row, VitRow) else ("resnet", None)
  every = (
    Source("text", chosen.text, "bert", model.text.heads),
    Source("language_head", chosen.language_head, "language_head", None),
    Source("backbone", chosen.backbone, *vision),
    Source("detector", chosen.detector, "detr", model.detector.heads),
  )
  return [source for source in every if source.path]


def read_weights(experiment: Experiment, params: Tree) -> dict[str, Tree]:
  """Reads all files, or none when one of them does not fit.

  Args:
    experiment: names the files.
    params: of the task, arrays or shapes.

  Returns:
    Part -> its parameters as numpy arrays; those that no file has stay as in
    `params`.

  Raises:
    LoadError: names the key of `init_from`, the file and all that is wrong.
  """
  found = {}
  for source in sources(experiment):
    try:
      found[source.part] = _read(
        source, experiment, params["slan"][source.part]
      )
    except LoadError as error:
      raise LoadError(f"init_from.{source.part}: {error}") from error
  return found


def _read(source: Source, experiment: Experiment, template: Tree) -> Tree:
  part, path, kind, heads = source
  if exported.is_slan(path):
    _check_heads(source, exported.read_config(Path(path)))
    return exported.load_part(path, part, template)
  chosen = experiment.init_from
  return load.load(
    path,
    kind,
    template,
    heads=heads,
    resize_positions=chosen.resize_positions,
    ignore=chosen.ignore,
  )


def _check_heads(source: Source, values: dict[str, Any]) -> None:
  """Refuses another number of attention heads, which no shape shows."""
  own = {**values["model"], "backbone": values["backbone"]}
  found = own.get(source.part, {}).get("heads", source.heads)
  if found != source.heads:
    raise LoadError(
      f"{source.path}: config.json says {source.part} heads={found}, the model "
      f"has {source.heads}"
    )


def notes(experiment: Experiment, weights: dict[str, Tree]) -> list[str]:
  """What the user of a new run is to know of its start, a line each."""
  lines = []
  if weights:
    lines.append(f"Starting from published weights: {', '.join(weights)}")
  large = "tiny" not in experiment.model.backbone.name
  if large and "backbone" not in weights:
    lines.append(
      "The vision encoder starts at random, as the paper's does; ALBEF's users "
      "lost 12 points of recall by that. init_from.backbone takes weights"
    )
  return lines


def inventory(
  source: Source, template: Tree
) -> list[tuple[str, convert.Shape, str]]:
  """What `read_weights` reads of a file that fits; as `load.inventory`."""
  if exported.is_slan(source.path):
    return exported.part_inventory(source.part, template)
  return load.inventory(source.path, source.kind, template)


def graft(params: Tree, weights: dict[str, Tree]) -> Tree:
  """Parameters with the weights in place of the random ones.

  Args:
    params: of the task, where they shall live.
    weights: of `read_weights`; {} changes nothing.

  Returns:
    The tree; what is new has its own memory and the old one's sharding.
  """
  if not weights:
    return params
  slan = dict(params["slan"])
  for part, tree in weights.items():
    slan[part] = jax.tree.map(placed, tree, slan[part])
  return params | {"slan": slan}


def placed(new: Any, old: jax.Array) -> jax.Array:
  """A new array in the place of an old one; what is no array changes nothing.

  Copied: two trees may be grafted from one set of weights, and both are later
  given away to the training step.
  """
  if isinstance(new, jax.Array):
    return jnp.copy(new)
  if not isinstance(new, np.ndarray | np.generic):
    return old
  return jax.make_array_from_callback(
    old.shape, old.sharding, lambda index: np.array(new[index])
  )
