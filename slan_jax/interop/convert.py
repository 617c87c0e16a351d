"""Moves arrays between our parameter trees and torch's names and layouts."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from slan_jax.interop import names, problems
from slan_jax.interop.problems import LoadError

Tensors = dict[str, np.ndarray]
Shape = tuple[int, ...]
# (our path, array in our layout, wanted shape) -> array; see `from_torch`.
Adapt = Callable[[str, np.ndarray, Shape], np.ndarray]


class Slot(NamedTuple):
  """One array of ours (one layer of a stacked one) and its torch place.

  Attributes:
    path: ours.
    layer: index along the leading axis of a stacked array; None = not stacked.
    name: torch name.
    third: which third of a fused array; None = the whole.
    layout: as in `slan_jax.interop.names`.
    shape: of ours, without the layer axis.
  """

  path: str
  layer: int | None
  name: str
  third: int | None
  layout: str
  shape: Shape


def flatten(tree: Any) -> dict[str, Any]:
  """A tree of nested dicts as {"a/b": leaf}."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {"/".join(key.key for key in path): leaf for path, leaf in leaves}


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  """{"a/b": leaf} as a tree of nested dicts: the way back of `flatten`."""
  root: dict[str, Any] = {}
  for path, leaf in flat.items():
    *parents, name = path.split("/")
    node = root
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return root


def slots(kind: names.Kind, dialect: str, template: Any) -> list[Slot]:
  """Where every array of a tree stands in a dialect.

  Args:
    kind: one of `names.KINDS`.
    dialect: one of its dialects.
    template: parameters (arrays or shapes).

  Returns:
    One slot per torch array (or third), without `kind.ours_only`.

  Raises:
    LoadError: the tree has a parameter that the table does not know.
  """
  places = [
    (_pattern(_join(row.path, "/", leaf.ours)), row, leaf)
    for row in kind.rows
    for leaf in names.FORMS[row.form]
  ]
  found: list[Slot] = []
  for path, array in flatten(template).items():
    if path in kind.ours_only:
      continue
    for pattern, row, leaf in places:
      if match := pattern.fullmatch(path):
        found += _slots(
          path, array.shape, row, leaf, match, kind.dialects[dialect]
        )
        break
    else:
      raise LoadError(
        f"parameter {path!r} of the model has no counterpart in published "
        "files of this architecture"
      )
  return found


def _join(left: str, between: str, right: str) -> str:
  return left + between + right if right else left


def _pattern(path: str) -> re.Pattern[str]:
  path = path.replace("{s}", r"(?P<s>\d+)").replace("{b}", r"(?P<b>\d+)")
  return re.compile(path)


def _slots(
  path: str,
  shape: Shape,
  row: names.Row,
  leaf: names.Leaf,
  match: re.Match[str],
  replacements: tuple[tuple[str, str], ...],
) -> list[Slot]:
  """Slots of one array of ours: one, or one per layer."""
  name = _join(row.name, ".", leaf.torch)
  for old, new in replacements:
    name = name.replace(old, new)
  name, third = _fused(name)
  counts = {key: int(value) for key, value in match.groupdict().items()}
  counts |= {f"{key}0": value - 1 for key, value in counts.items()}
  if "{i}" not in name:
    name = name.format(**counts)
    return [Slot(path, None, name, third, leaf.layout, tuple(shape))]
  return [
    Slot(path, i, name.format(i=i), third, leaf.layout, tuple(shape[1:]))
    for i in range(shape[0])
  ]


def _fused(name: str) -> tuple[str, int | None]:
  """ "x.in_proj_#1.weight" -> ("x.in_proj_weight", 1)."""
  if "#" not in name:
    return name, None
  stem, rest = name.split("#")
  third, leaf = rest.split(".")
  return _join(stem, "" if stem.endswith("_") else ".", leaf), int(third)


def to_ours(array: np.ndarray, layout: str) -> np.ndarray:
  """An array in our layout, from torch's."""
  if layout == "transpose":
    return array.T
  if layout == "conv":
    return array.transpose(2, 3, 1, 0)
  if layout == "pointwise":
    return array[:, :, 0, 0].T
  return array[0] if layout == "rows" else array


def to_theirs(array: np.ndarray, layout: str) -> np.ndarray:
  """An array in torch's layout, from ours."""
  if layout == "transpose":
    return array.T
  if layout == "conv":
    return array.transpose(3, 2, 0, 1)
  if layout == "pointwise":
    return array.T[:, :, None, None]
  return array[None] if layout == "rows" else array


def to_torch(
  kind: names.Kind, params: Any, *, dialect: str = "huggingface"
) -> Tensors:
  """Our parameters under torch's names, in torch's layouts.

  Args:
    kind: one of `names.KINDS`.
    params: tree of that kind.
    dialect: whose names.

  Returns:
    name -> array.
  """
  flat = flatten(params)
  parts: dict[str, dict[int | None, np.ndarray]] = {}
  for slot in slots(kind, dialect, params):
    array = np.asarray(flat[slot.path])
    if slot.layer is not None:
      array = array[slot.layer]
    thirds = parts.setdefault(slot.name, {})
    thirds[slot.third] = to_theirs(array, slot.layout)
  return {
    # Not `ascontiguousarray`, which makes a vector of a number.
    name: np.asarray(
      np.concatenate([thirds[k] for k in sorted(thirds)])
      if None not in thirds
      else thirds[None],
      order="C",
    )
    for name, thirds in parts.items()
  }


def from_torch(
  kind: names.Kind,
  tensors: Mapping[str, np.ndarray],
  template: Any,
  *,
  source: str,
  adapt: Adapt | None = None,
  ignore: tuple[str, ...] = (),
) -> Any:
  """A new parameter tree from torch arrays; all or nothing.

  Args:
    kind: one of `names.KINDS`.
    tensors: torch name -> array, of any dialect of the kind.
    template: parameters, arrays or shapes; its `ours_only` leaves are kept.
    source: name of the file, for errors.
    adapt: may turn an array into one of the wanted shape.
    ignore: starts of names that are passed over.

  Returns:
    Tree of numpy arrays with the structure and types of `template`.

  Raises:
    LoadError: another architecture, or arrays missing, unexpected, misshaped
      or not finite: all of them are listed.
  """
  tensors = strip(kind, tensors, ignore)
  wanted = best_slots(kind, tensors, template, source)
  expected = {slot.name for slot in wanted}
  faults: problems.Faults = {
    "missing": sorted(expected - set(tensors)),
    "unexpected": sorted(
      name
      for name in set(tensors) - expected
      if not any(re.match(pattern, name) for pattern in kind.ignored)
    ),
    "misshaped": [],
    "not finite": [],
  }
  flat = flatten(template)
  made: dict[str, Any] = {}
  for slot in wanted:
    if slot.name not in tensors:
      continue
    theirs = tensors[slot.name]
    array = _read(slot, theirs, adapt)
    if array is None:
      shapes = f"file {theirs.shape}, model {shape_in_file(slot)}"
      faults["misshaped"].append(f"{slot.name}: {shapes}")
    elif not np.isfinite(array).all():
      faults["not finite"].append(slot.name)
    else:
      _place(made, slot, array, flat[slot.path])
  problems.raise_for(faults, source)
  leaves, structure = jax.tree.flatten(template)
  return structure.unflatten(
    [made.get(path, leaf) for path, leaf in zip(flat, leaves)]
  )


def strip(
  kind: names.Kind, tensors: Mapping[str, np.ndarray], ignore: tuple[str, ...]
) -> Tensors:
  """Drops the kind's prefixes from names, then the names to be ignored."""
  kept = {}
  for name, array in tensors.items():
    for prefix in kind.prefixes:
      name = name.removeprefix(prefix)
    if not name.startswith(ignore):
      kept[name] = array
  return kept


def best_slots(
  kind: names.Kind, tensors: Tensors, template: Any, source: str
) -> list[Slot]:
  """Slots of the dialect that most names of the file belong to.

  Raises:
    LoadError: no name of the file belongs to any.
  """

  def hits(found: list[Slot]) -> int:
    return len({slot.name for slot in found} & set(tensors))

  best = max((slots(kind, d, template) for d in kind.dialects), key=hits)
  if not hits(best):
    raise LoadError(
      f"{source}: no array has a name of this architecture (expected for "
      f"example {best[0].name!r}; found {', '.join(sorted(tensors)[:3])} ...)"
    )
  return best


def shape_in_file(slot: Slot) -> Shape:
  shape = to_theirs(np.empty(slot.shape, np.int8), slot.layout).shape
  return shape if slot.third is None else (3 * shape[0], *shape[1:])


def _read(
  slot: Slot, array: np.ndarray, adapt: Adapt | None
) -> np.ndarray | None:
  """The array of a slot in our layout, or None if its shape is wrong."""
  wanted = shape_in_file(slot)
  if array.shape == wanted:
    if slot.third is not None:
      array = np.split(array, 3)[slot.third]
    return to_ours(array, slot.layout)
  if adapt is None or slot.third is not None or array.ndim != len(wanted):
    return None
  array = adapt(slot.path, to_ours(array, slot.layout), slot.shape)
  return array if array.shape == slot.shape else None


def _place(
  made: dict[str, Any], slot: Slot, array: np.ndarray, like: Any
) -> None:
  if slot.layer is None:
    made[slot.path] = np.asarray(array, like.dtype)
    return
  if slot.path not in made:
    made[slot.path] = np.empty(like.shape, like.dtype)
  made[slot.path][slot.layer] = array
