"""The model of a directory: of an export, or of a run."""

from pathlib import Path
from typing import Any

from slan_jax.interop import exported, load
from slan_jax.interop.export import CALIBRATION, Trained
from slan_jax.interop.problems import LoadError
from slan_jax.jobs.typed import to_dataclass
from slan_jax.models import config


def read_trained(directory: Path, checkpoint: str) -> Trained:
  """The model of a directory.

  Args:
    directory: an export, or the work directory of a run.
    checkpoint: of a run: step, "last" or "best".

  Raises:
    ValueError, InputError: neither, or damaged; says which and where.
  """
  directory = Path(directory)
  if not exported.is_export(directory):
    # Imported here: an export is read without what training needs.
    from slan_jax.jobs.trained import read_run

    return read_run(directory, checkpoint)
  if checkpoint != "last":
    raise ValueError(
      f"checkpoint={checkpoint}: {directory} is an export, which holds one "
      "model; only a run's home has several"
    )
  values, path = exported.read_config(directory), directory / "tokenizer.json"
  try:
    model = to_dataclass(values["model"], config.Slan)
    template = exported.template_of(values, model)
    rest = {k: values[k] for k in ("token_ids", "max_length", "captions")}
  except (KeyError, TypeError, ValueError) as error:
    raise LoadError(
      f"{directory / 'config.json'}: of another version ({error}); export again"
    ) from error
  params = exported.load_export(directory, template)
  if not path.is_file():
    raise LoadError(f"{path}: missing; export again")
  fitted = directory / CALIBRATION
  settings = directory / exported.TRAINING
  return Trained(
    model=model,
    params=params,
    tokenizer=path.read_text("utf-8"),
    card="",
    training=load.read_json(settings) if settings.exists() else {},
    calibration=load.read_json(fitted) if fitted.exists() else None,
    prompt=tuple(values.get("writing", {}).get("prompt", ())),
    **rest,
  )


def trained_settings(trained: Trained, name: str, kind: type) -> Any:
  """A section of the configuration that a model was trained with.

  Raises:
    LoadError: it has no such section; it was exported by an earlier version.
  """
  try:
    return to_dataclass(trained.training[name], kind)
  except (KeyError, TypeError, ValueError) as error:
    raise LoadError(
      f"the model's training configuration has no usable section {name!r} "
      f"({error}); export it again with this version"
    ) from error
