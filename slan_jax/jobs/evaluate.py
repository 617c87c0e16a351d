"""`slan-eval --workdir DIR --task retrieval|grounding --output DIR`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
from absl import flags
from rich.console import Console

from slan_jax.evaluation import report, table
from slan_jax.evaluation.files import write_atomically
from slan_jax.evaluation.retrieval_pictures import (
  retrieval_examples,
  save_examples,
)
from slan_jax.jobs import common, workdir
from slan_jax.jobs.experiment import Experiment, make_task, read_tokenizer
from slan_jax.jobs.pretrained import graft, read_weights
from slan_jax.jobs.scoring import Scorer
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.config import Mesh
from slan_jax.training.sharding import make_mesh
from slan_jax.training.state import abstract_params, init_params

Tree = Any
QUERIES = 6  # retrieval examples kept for the pictures
REQUEST = "request.json"

_TASK = flags.DEFINE_enum("task", None, ["retrieval", "grounding"], "What.")
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", "last", "Step, or `last`, or `best` by validation score."
)
_SPLIT = flags.DEFINE_string("split", "test", "Split to score.")
_GALLERY = flags.DEFINE_list(
  "gallery", None, "Images per gallery, headline first; else the run's own."
)
_UNTRAINED = flags.DEFINE_bool(
  "untrained", True, "Score the run's initial parameters as well."
)
_FORCE = flags.DEFINE_bool("force", False, "Score again what was scored.")


@dataclasses.dataclass(frozen=True)
class Request:
  """What is to be scored, and how; equal requests have equal results."""

  task: str
  split: str
  galleries: tuple[int, ...]
  step: int
  config_hash: str
  untrained: bool


def main() -> None:
  """Console script."""
  flags.mark_flags_as_required(["workdir", "task", "output"])
  common.launch(_from_flags)


def _from_flags() -> int:
  directory = Path(common.WORKDIR.value)
  experiment = workdir.read(directory)
  common.use_cpu_devices(experiment.mesh.cpu_devices)
  checkpoints = open_checkpoints(directory)
  request = Request(
    task=_TASK.value,
    split=_SPLIT.value,
    galleries=parse_galleries(_GALLERY.value, experiment.evaluation.galleries),
    step=choose_step(checkpoints, _CHECKPOINT.value),
    config_hash=workdir.config_hash(experiment),
    untrained=_UNTRAINED.value,
  )
  output = Path(common.OUTPUT.value)
  found = None if _FORCE.value else reuse(output, request)
  if found is None:
    found = evaluate(experiment, checkpoints, request, output)
  if jax.process_index() == 0:
    Console().print(table.closing_table([found]))
    print(f"{output / 'metrics.json'}")
  return 0


def open_checkpoints(directory: Path) -> Checkpoints:
  """The checkpoints of a run.

  Raises:
    WorkdirError: there are none.
  """
  checkpoints = Checkpoints(directory / workdir.CHECKPOINTS, read_only=True)
  if not checkpoints.steps():
    raise workdir.WorkdirError(
      f"{directory} has no checkpoint yet; train first (slan-train)"
    )
  return checkpoints


def choose_step(checkpoints: Checkpoints, name: str) -> int:
  """Step that "last", "best" or a number names.

  Raises:
    ValueError: none of these, or no such checkpoint.
  """
  steps = checkpoints.steps()
  if name == "last":
    return steps[-1]
  if name == "best":
    best = checkpoints.best()
    if best is None:
      raise ValueError(
        "--checkpoint=best: no checkpoint was scored during training; set "
        "evaluation.every_steps, or choose one of the steps "
        f"{', '.join(map(str, steps))}"
      )
    return best
  if not name.isdigit() or int(name) not in steps:
    raise ValueError(
      f"--checkpoint={name}: choose `last`, `best` or one of the steps "
      f"{', '.join(map(str, steps))}"
    )
  return int(name)


def parse_galleries(
  values: list[str] | None, default: tuple[int, ...]
) -> tuple[int, ...]:
  """Sizes of `--gallery 200,1000`; None = the configured ones.

  Raises:
    ValueError: not positive numbers.
  """
  if values is None:
    return default
  if not values or not all(v.isdigit() and int(v) > 0 for v in values):
    raise ValueError(
      f"--gallery={','.join(values)}: expected numbers of images, as 200,1000"
    )
  return tuple(int(value) for value in values)


def reuse(output: Path, request: Request) -> dict[str, Any] | None:
  """The report of an equal request, if a whole one lies there."""
  try:
    if json.loads((output / REQUEST).read_text()) != _plain(request):
      return None
    found = report.read_report(output / "metrics.json")
  except (FileNotFoundError, ValueError):
    return None
  print(f"{output} already holds these scores (--force scores again)")
  return found


def evaluate(
  experiment: Experiment,
  checkpoints: Checkpoints,
  request: Request,
  output: Path,
) -> dict[str, Any]:
  """Scores a checkpoint, and the run's initial parameters beside it.

  Args:
    experiment: of the run.
    checkpoints: of the run.
    request: what to score.
    output: where metrics.json is written, with what the pictures need.

  Returns:
    The report of metrics.json.
  """
  common.use_compilation_cache(experiment.compilation_cache)
  experiment, encoder = read_tokenizer(experiment)
  task = make_task(experiment, encoder)
  mesh = make_mesh(evaluation_mesh(experiment))
  part = "ema" if experiment.evaluation.use_ema else "params"
  like = abstract_params(task, mesh)
  weights = read_weights(experiment, like) if request.untrained else {}
  with jax.set_mesh(mesh):
    scorer = Scorer(
      experiment, task, mesh, request.split, galleries=request.galleries
    )
    params = checkpoints.restore_part(request.step, part, like)
    outcome = _score(scorer, request, params, output)
    untrained = {}
    if request.untrained:
      params = init_params(task, seed=experiment.seed, mesh=mesh)
      params = graft(params, weights)
      untrained = _score(scorer, request, params, None)["metrics"]
  found = report.complete(
    outcome,
    checkpoint_step=request.step,
    config_hash=request.config_hash,
    untrained=untrained,
  )
  if jax.process_index() == 0:
    (output / REQUEST).unlink(missing_ok=True)
    report.write_report(output / "metrics.json", found)
    text = json.dumps(_plain(request), indent=2) + "\n"
    write_atomically(output / REQUEST, text.encode())
  return found


def evaluation_mesh(experiment: Experiment) -> Mesh:
  """The run's mesh, or all devices along `data` when it does not fit here."""
  fsdp = experiment.mesh.fsdp
  fits = fsdp > 0 and jax.device_count() % fsdp == 0
  return dataclasses.replace(experiment.mesh, data=-1, fsdp=fsdp if fits else 1)


def _score(
  scorer: Scorer, request: Request, params: Tree, output: Path | None
) -> dict[str, Any]:
  if request.task == "grounding":
    return scorer.grounding(params, counterfactuals=True)
  found = scorer.retrieval(params)
  if output is not None and jax.process_index() == 0:
    gallery = scorer.gallery
    examples = retrieval_examples(
      found.gallery,
      found.text_to_image,
      gallery.images,
      gallery.texts,
      queries=QUERIES,
    )
    save_examples(output / "examples.npz", examples)
  return found.report


def _plain(request: Request) -> dict[str, Any]:
  return json.loads(json.dumps(dataclasses.asdict(request)))


if __name__ == "__main__":
  main()
