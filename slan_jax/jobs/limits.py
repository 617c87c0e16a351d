"""What the values of a configuration may be, beyond their types."""

from typing import Any

from slan_jax.jobs.typed import ConfigError

# Key -> the least value.
_LEAST = {
  "seed": 0,
  "total_steps": 1,
  "batch_size": 1,
  "microbatches": 1,
  "optimizer.max_skipped": 1,
  "optimizer.max_rollbacks": 0,
  "checkpoint.every_steps": 1,
  "checkpoint.keep": 1,
  "log.every_steps": 1,
  "evaluation.every_steps": 0,
  "evaluation.records": 0,
  "evaluation.batch_size": 1,
  "evaluation.pair_batch_size": 1,
  "evaluation.cache_bytes": 0,
  "evaluation.texts_per_image": 0,
  "evaluation.top_k": 1,
  "localisation.top": 0,
  "detection.prompt_classes": 0,
  "detection.boxes": 1,
  "detection.nms": 0,
  "detection.most": 1,
  "grounding.phrases": 1,
  "grounding.boxes": 1,
  "video.frames": 1,
}
# Key -> the values of which it is one, where no module refuses another.
_CHOICES = {
  "evaluation.first_stage": {"itc", "itc+phrase"},
  "evaluation.score": {"itm", "sum", "stage1"},
  "video.choice": {"uniform", "random"},
  "model.adaptor.words": {"tokens", "all", "phrases"},
  "model.adaptor.size": {"scale", "soft_extent"},
  "model.adaptor.refine": {"overwrite", "add"},
  "model.adaptor.assignment": {"every", "best", "mutual"},
  "model.word_map.affinity": {"none", "features", "appearance"},
  "model.heads.matching_regions": {"adapted", "filtered"},
  "objective.reg_regions": {"kept", "slots"},
}
_UNITS = {"image", "box"}
# Key -> the value that can do without a word map.
_WITHOUT_MAP = {
  "model.adaptor.words": ("tokens", "all"),
  "model.heads.evidence": (False,),
  "objective.saliency": (0.0,),
}


def check_values(experiment: Any) -> None:
  """Refuses values that would end a run late, or mean another one silently.

  Args:
    experiment: of `experiment.Experiment`.

  Raises:
    ConfigError: names the key, what it is and what was expected.
  """
  for key, least in _LEAST.items():
    if (value := _lookup(experiment, key)) < least:
      raise ConfigError(f"{key} is {value}; expected at least {least}")
  for place in _directories(experiment.data):
    if "://" in place:
      raise ConfigError(
        f"data directory {place}: records are read from directories of this "
        "machine; mount the bucket, or copy it, as launch/tpu_pod.sh does"
      )
  _check_average(experiment)
  _check_choices(experiment)
  _check_levels(experiment.model)
  if (
    not experiment.evaluation.galleries
    or min(experiment.evaluation.galleries) < 1
  ):
    raise ConfigError("evaluation.galleries: expected numbers of images")


def _lookup(experiment: Any, key: str) -> Any:
  value = experiment
  for part in key.split("."):
    value = getattr(value, part)
  return value


def _directories(data: Any) -> list[str]:
  return [data.dir, *(place for _, place, _ in data.mixture)]


def _check_average(experiment: Any) -> None:
  """The EMA copy, and what needs it."""
  ema = experiment.optimizer.ema_decay
  if not 0.0 <= ema < 1.0:
    raise ConfigError(f"optimizer.ema_decay is {ema}; expected 0 <= d < 1")
  for key in ("objective.momentum", "evaluation.use_ema"):
    if _lookup(experiment, key) and not ema:
      raise ConfigError(f"{key} needs an EMA copy: optimizer.ema_decay > 0")


def _check_choices(experiment: Any) -> None:
  mapped = experiment.model.word_map.enabled
  for key, choices in _CHOICES.items():
    if key == "evaluation.first_stage" and not mapped:
      choices = choices - {"itc+phrase"}
    if (value := _lookup(experiment, key)) not in choices:
      raise ConfigError(
        f"{key} is {value!r}; this model offers {', '.join(sorted(choices))}"
      )
  for key, free in _WITHOUT_MAP.items():
    if not mapped and (value := _lookup(experiment, key)) not in free:
      raise ConfigError(f"{key} is {value!r}; it needs model.word_map.enabled")


def _check_levels(model: Any) -> None:
  """Each level of the adaptor has a window, its unit and a map."""
  adaptor = model.adaptor
  if odd := set(adaptor.window_units) - _UNITS:
    raise ConfigError(
      f"model.adaptor.window_units has {sorted(odd)}; expected image or box"
    )
  for key, values in (
    ("model.adaptor.windows", adaptor.windows),
    ("model.adaptor.window_units", adaptor.window_units),
    ("model.pyramid.scales", model.pyramid.scales),
  ):
    if len(values) < adaptor.levels:
      raise ConfigError(
        f"{key} is {values}; expected one for each of model.adaptor.levels="
        f"{adaptor.levels}"
      )
