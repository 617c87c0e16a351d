"""What an evaluation may do otherwise than its run: `slan-eval --set`.

Only what leaves the parameters as they are, and only what the task reads.
"""

import ast
import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import ConfigError, flatten, to_dataclass
from slan_jax.jobs.workdir import RUNTIME
from slan_jax.tasks.config import READ_BY, Writing


def _keys(section: str, *names: str) -> tuple[str, ...]:
  return tuple(f"{section}.{name}" for name in names)


_WRITING = tuple(field.name for field in dataclasses.fields(Writing))
_RANKING = _keys(
  "evaluation", "first_stage", "score", "texts_per_image", "top_k"
)
_EVERY = _keys(
  "evaluation", "batch_size", "cache_bytes", "pair_batch_size", "use_ema"
)
# Task -> what it reads beside what every one reads.
CHOICES: dict[str, tuple[str, ...]] = {
  "retrieval": _RANKING,
  "grounding": (),
  "detection": _keys(
    "detection", "classes", "max_length", "most", "nms", "opening",
    "prompt_classes", "separator",
  ),
  "nlvr2": (),
  "captioning": _keys("captioning.write", *_WRITING),
  "vqa": _keys("vqa", "inference", "rank_chunk", "rank_first")
  + _keys("vqa.write", *_WRITING),
  "video_retrieval": _RANKING + _keys("video", "choice", "frames"),
}  # fmt: skip
# (Start of a key, the key that decides whether it is read, and at what value.)
_READ_WHEN = (
  ("vqa.rank_", "vqa.inference", "rank"),
  ("vqa.write.", "vqa.inference", "generate"),
) + tuple(
  (f"{section}.write.{name}", f"{section}.write.search", search)
  for section in ("captioning", "vqa")
  for name, search in READ_BY.items()
)


def choose(
  experiment: Experiment, task: str, given: Sequence[str]
) -> tuple[Experiment, dict[str, Any]]:
  """The experiment with what was given of `--set KEY=VALUE`.

  Args:
    experiment: of the run.
    task: what is scored, a key of `CHOICES`.
    given: "KEY=VALUE", as `--config.KEY=VALUE` of a run; names of a list may
      stand there plain, as "cat,dog".

  Returns:
    The experiment, and by key the values that differ from the run's and that
    scores may depend on, as JSON holds them.

  Raises:
    ConfigError: a key that is unknown, given twice, of the model or its
      training, or that this evaluation does not read; a value that cannot be.
  """
  if not given:
    return experiment, {}
  values, own = (
    dataclasses.asdict(experiment),
    flatten(dataclasses.asdict(experiment)),
  )
  chosen = {}
  for text in given:
    key, equals, value = text.partition("=")
    if not equals:
      raise ConfigError(f"--set {text}: expected KEY=VALUE")
    if key in chosen:
      raise ConfigError(f"--set {text}: {key} is given twice")
    _check_key(key, task, own)
    chosen[key] = _read(value, own[key])
    *sections, name = key.split(".")
    place = values
    for section in sections:
      place = place[section]
    place[name] = chosen[key]
  try:
    made = to_dataclass(values, Experiment)
  except ValueError as error:
    raise ConfigError(f"--set {' '.join(given)}: {error}") from error
  flat = flatten(dataclasses.asdict(made))
  for start, key, value in _READ_WHEN:
    for name in chosen:
      if name.startswith(start) and flat[key] != value:
        raise ConfigError(
          f"--set {name}: is read only where {key} is {value}, and it is "
          f"{flat[key]}; give --set {key}={value} as well"
        )
  changed = {key: flat[key] for key in chosen if flat[key] != own[key]}
  return made, {k: v for k, v in sorted(changed.items()) if k not in RUNTIME}


def describe(changed: dict[str, Any]) -> str:
  """The sentence that a protocol ends with; "" when nothing was changed.

  Args:
    changed: of `choose`.
  """
  told = ", ".join(f"{key}={value}" for key, value in changed.items())
  return told and f" Set otherwise than in the run: {told}."


def _check_key(key: str, task: str, own: dict[str, Any]) -> None:
  allowed = sorted((*CHOICES[task], *_EVERY))
  if key in allowed:
    return
  if any(key in keys for keys in CHOICES.values()):
    why = f"--task {task} does not read it"
  elif key in own:
    why = "belongs to the model, its data or its training"
  else:
    why = "no such key"
  near = difflib.get_close_matches(key, allowed, 1, 0.4)
  raise ConfigError(
    f"--set {key}: {why}; --task {task} takes {', '.join(allowed)}"
    + (f"; did you mean {near[0]}?" if near else "")
  )


def _read(text: str, own: Any) -> Any:
  """A value of the kind that the run has; else the text, which is refused."""
  if isinstance(own, str):
    return text
  if isinstance(own, bool):
    return {"true": True, "false": False}.get(text.lower(), text)
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    named = isinstance(own, list) and text
    return tuple(name.strip() for name in text.split(",")) if named else text
