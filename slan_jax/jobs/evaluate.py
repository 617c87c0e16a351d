"""`slan-eval --workdir DIR --task TASK`: scores a run."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from absl import flags
from etils import epath
from rich.console import Console

from slan_jax.evaluation import cases, report, table, task_report
from slan_jax.evaluation.files import write_atomically
from slan_jax.input.text import TextEncoder
from slan_jax.interop.export import detection_values
from slan_jax.interop.torch_predictions import predictions
from slan_jax.jobs import choices, common, lineage, workdir
from slan_jax.jobs.catalog import (
  SCORED,
  make_task,
  score_function,
  scored_task,
)
from slan_jax.jobs.evaluation_mesh import evaluation_mesh
from slan_jax.jobs.experiment import Experiment, read_tokenizer
from slan_jax.jobs.request import REQUEST, Request, keep_request, plain, reuse
from slan_jax.jobs.setting import Setting
from slan_jax.jobs.start import read_start
from slan_jax.jobs.unfinished import Unfinished, forget
from slan_jax.tasks.localisation import with_regions
from slan_jax.tasks.task import Task
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.config import Mesh
from slan_jax.training.sharding import make_mesh
from slan_jax.training.state import abstract_params, init_params

PAGE = "report.html"

_TASK = common.define_task(SCORED)
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", "last", "Step, or `last`, or `best` by validation score."
)
_SPLIT = flags.DEFINE_string("split", "test", "Split to score.")
_DATA = flags.DEFINE_string(
  "data", None, "Prepared directory to score on; else the run's own."
)
_GALLERY = flags.DEFINE_list(
  "gallery", None, "Images per gallery, headline first; else the run's own."
)
_UNTRAINED = flags.DEFINE_bool(
  "untrained", True, "Score the run's initial parameters as well."
)
_FRAMEWORK = flags.DEFINE_enum(
  "framework", "jax", ["jax", "torch"], "Which model runs: JAX's or its twin."
)
_MESH = flags.DEFINE_string(
  "mesh",
  None,
  "Devices per axis, as data=2,fsdp=4; -1, or an axis that is not named, is "
  "all that remain. Else the run's fsdp and the rest along data.",
)
_SET = flags.DEFINE_multi_string(
  "set",
  [],
  "KEY=VALUE in place of the run's own, of what does not change parameters: "
  "evaluation.top_k=64, captioning.write.search=nucleus ...; may be repeated.",
)
_FORCE = flags.DEFINE_bool("force", False, "Score again what was scored.")


def main() -> None:
  """Console script."""
  flags.mark_flags_as_required(["workdir", "task"])
  common.launch(_from_flags)


def _from_flags() -> int:
  directory = epath.Path(common.WORKDIR.value)
  run = workdir.read(directory)
  experiment, changed = choices.choose(run, _TASK.value, _SET.value)
  common.use_cpu_devices(experiment.mesh.cpu_devices)
  mesh = evaluation_mesh(experiment.mesh, _MESH.value)
  checkpoints = workdir.open_checkpoints(directory)
  request = Request(
    task=_TASK.value,
    data=_DATA.value or experiment.data.dir,
    split=_SPLIT.value,
    galleries=parse_galleries(_GALLERY.value, experiment.evaluation.galleries),
    step=workdir.choose_step(checkpoints, _CHECKPOINT.value),
    config_hash=workdir.config_hash(run),
    untrained=_UNTRAINED.value,
    framework=_FRAMEWORK.value,
    changed=changed,
  )
  output = epath.Path(common.OUTPUT.value or directory / "eval" / request.task)
  if _FORCE.value:
    forget(output)
  found = None if _FORCE.value else reuse(output, request)
  if found is None:
    found = evaluate(experiment, checkpoints, request, output, mesh)
  if jax.process_index() == 0:
    Console().print(table.closing_table([table.Scored([found])]))
    print(f"{output / 'metrics.json'}\n{output / PAGE}")
  return 0


def on_data(experiment: Experiment, directory: str) -> Experiment:
  """The experiment with other data, but with the tokenizer of its run."""
  if directory == experiment.data.dir:
    return experiment
  data, text = experiment.data, experiment.text
  if text.tokenizer == "dataset":
    text = dataclasses.replace(text, tokenizer=str(Path(data.dir, "tokenizer")))
  data = dataclasses.replace(data, dir=directory)
  return dataclasses.replace(experiment, data=data, text=text)


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


def evaluate(
  experiment: Experiment,
  checkpoints: Checkpoints,
  request: Request,
  output: Path,
  mesh: Mesh | None = None,
) -> dict[str, Any]:
  """Scores a checkpoint, and the run's initial parameters beside it.

  Args:
    experiment: of the run.
    checkpoints: of the run.
    request: what to score, and on which data.
    output: where metrics.json is written, with what the pictures need and a
      page. What is scored before the end waits in a folder there: the same
      call goes on from it.
    mesh: devices per axis; None = as `evaluation_mesh` chooses.

  Returns:
    The report of metrics.json.
  """
  common.use_compilation_cache(experiment.compilation_cache)
  told = lineage.standing(experiment, request.task, request.data)
  experiment = on_data(experiment, request.data)
  experiment, encoder = read_tokenizer(experiment)
  own = make_task(experiment, encoder)
  mesh = make_mesh(mesh or evaluation_mesh(experiment.mesh))
  if jax.process_index() == 0:  # of an earlier evaluation
    for name in (REQUEST, cases.FILE, task_report.CURVES):
      (output / name).unlink(missing_ok=True)
  part = "ema" if experiment.evaluation.use_ema else "params"
  like = abstract_params(own, mesh)
  task = scored_task(request.task, experiment, encoder, own)
  if request.framework == "torch":
    task = _by_torch(request.task, task, experiment, encoder)
  # Chunks are batches, whose size is no part of what a run is.
  asked = plain(request) | {"batch": experiment.evaluation.batch_size}
  with jax.set_mesh(mesh):
    score = score_function(
      request.task,
      Setting(
        experiment=experiment,
        encoder=encoder,
        task=task,
        mesh=mesh,
        split=request.split,
        galleries=request.galleries,
        limit=None,
        unfinished=Unfinished(output, asked),
      ),
    )
    start = None
    if request.untrained:  # before hours are spent: its run may be gone
      start = read_start(experiment, encoder, like)
    params = checkpoints.restore_part(request.step, part, like)
    outcome = score(params, output)
    outcome["protocol"] += f" {told}{choices.describe(request.changed)}"
    untrained = {}
    # Where the truth is secret, there is nothing to compare.
    if start is not None and outcome["metrics"]:
      params = init_params(own, seed=experiment.seed, mesh=mesh)
      untrained = score(start.graft(params), None)["metrics"]
  found = report.complete(
    outcome,
    checkpoint_step=request.step,
    config_hash=request.config_hash,
    untrained=untrained,
  )
  if jax.process_index() == 0:
    report.write_report(output / "metrics.json", found)
    page = task_report.write_page(
      f"{request.task}: {request.split}", [task_report.read_entry(output)]
    )
    write_atomically(output / PAGE, page.encode())
    keep_request(output, request)
  forget(output)
  return found


def _by_torch(
  name: str, task: Task, experiment: Experiment, encoder: TextEncoder
) -> Task:
  """The task, predicting with PyTorch."""
  if name not in ("retrieval", "grounding"):
    raise ValueError("--framework=torch scores retrieval and grounding alone")
  model = experiment.model
  if name == experiment.task == "grounding":  # it chooses regions otherwise
    model = with_regions(model, experiment.localisation)
  detection = detection_values(dataclasses.asdict(experiment))
  try:
    made = predictions(model, encoder.token_ids(), detection)
  except ImportError as error:
    raise ValueError(
      "--framework=torch needs torch: pip install slan_jax[torch]"
    ) from error
  return task._replace(predict={name: made[name] for name in task.predict})


if __name__ == "__main__":
  main()
