"""From nested dictionaries to frozen dataclasses, every key and type checked.

Here a configuration stops being a ConfigDict or JSON: models and training only
ever see dataclasses.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
  """A configuration has an unknown or missing key, or a wrong type."""


def to_dataclass(
  values: Mapping[str, Any], kind: type[T], where: str = ""
) -> T:
  """Builds a dataclass whose fields are exactly the given keys.

  Args:
    values: key -> value; sections are mappings themselves.
    kind: the dataclass; its annotations are the expected types.
    where: name of the section in messages, with a dot behind; "" at the top.

  Returns:
    The dataclass. An integer is accepted for a float, a list for a tuple.

  Raises:
    ConfigError: names the key, what it holds and what was expected.
  """
  hints = typing.get_type_hints(kind)
  for key in values:
    if key not in hints:
      near = difflib.get_close_matches(key, hints, 1)
      advice = f"; did you mean {where}{near[0]}?" if near else ""
      raise ConfigError(f"unknown configuration key {where}{key}{advice}")
  for key in hints:
    if key not in values:
      raise ConfigError(f"the configuration lacks the key {where}{key}")
  return kind(
    **{key: _value(values[key], hints[key], where + key) for key in hints}
  )


def _value(value: Any, hint: Any, name: str) -> Any:
  if dataclasses.is_dataclass(hint):
    if not isinstance(value, Mapping):
      raise _wrong(name, value, "a section with keys of its own")
    return to_dataclass(value, hint, name + ".")
  origin = typing.get_origin(hint)
  if origin is tuple:
    return _tuple(value, typing.get_args(hint), name)
  if origin in (types.UnionType, typing.Union):
    return _either(value, typing.get_args(hint), name)
  if hint is type(None) and value is None:
    return None
  if hint is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  # bool is an int to Python, not to us.
  if not isinstance(value, hint) or (hint is not bool and value is True):
    raise _wrong(name, value, hint.__name__)
  if hint is not bool and value is False:
    raise _wrong(name, value, hint.__name__)
  return value


def _tuple(value: Any, hints: tuple, name: str) -> tuple:
  if not isinstance(value, (list, tuple)):
    raise _wrong(name, value, "a tuple")
  if len(hints) == 2 and hints[1] is Ellipsis:
    hints = (hints[0],) * len(value)
  if len(value) != len(hints):
    raise _wrong(name, value, f"{len(hints)} values")
  return tuple(
    _value(item, hint, f"{name}[{place}]")
    for place, (item, hint) in enumerate(zip(value, hints))
  )


def _either(value: Any, hints: tuple, name: str) -> Any:
  for hint in hints:
    try:
      return _value(value, hint, name)
    except ConfigError:
      continue
  names = " or ".join(getattr(hint, "__name__", str(hint)) for hint in hints)
  raise _wrong(name, value, names)


def _wrong(name: str, value: Any, expected: str) -> ConfigError:
  return ConfigError(
    f"configuration key {name} is {value!r} ({type(value).__name__}); "
    f"expected {expected}"
  )


def flatten(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
  """Nested dictionary -> "a.b.c" -> value; tuples become lists, as in JSON."""
  flat = {}
  for key, value in values.items():
    if isinstance(value, Mapping):
      flat |= flatten(value, f"{where}{key}.")
    else:
      flat[where + key] = list(value) if isinstance(value, tuple) else value
  return flat
