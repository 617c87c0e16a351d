"""The programs that a run compiles, described but not computed."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from slan_jax.evaluation.cost import count_flops
from slan_jax.input.text import TextEncoder
from slan_jax.jobs.catalog import make_task
from slan_jax.jobs.experiment import Experiment, without_remat
from slan_jax.tasks.task import Task
from slan_jax.training.optimizer import (
  hold_frozen,
  make_optimizer,
  make_schedule,
)
from slan_jax.training.sharding import batch_sharding, check_batch, replicated
from slan_jax.training.state import (
  TrainState,
  abstract_params,
  abstract_state,
)
from slan_jax.training.step import Step
from slan_jax.training.working_copy import make_copy

Tree = Any


class Work(NamedTuple):
  """A program to plan for.

  Attributes:
    name: of the program.
    lower: lowers it; traced once.
    model_flops: of one call over all devices, nothing computed twice.
    examples: images, texts or pairs of one call.
    inputs: kind of array -> tree of shapes with shardings.
  """

  name: str
  lower: Callable[[], jax.stages.Lowered]
  model_flops: float
  examples: int
  inputs: dict[str, Tree]


def make_step(
  experiment: Experiment,
  task: Task,
  *,
  like: TrainState,
  mesh: jax.sharding.Mesh,
) -> Step:
  """The training step of a task; `like` as `abstract_state` returns it."""
  options = experiment.optimizer
  held = hold_frozen(like.params, options.frozen)
  copied = make_copy(
    like.params,
    dtype=experiment.model.compute_dtype,
    gather=experiment.mesh.gather,
  )
  return Step(
    task,
    make_optimizer(options),
    make_schedule(options, experiment.total_steps),
    ema_decay=options.ema_decay,
    like=like,
    mesh=mesh,
    copy=lambda params: copied(held(params)),
  )


def training_work(
  experiment: Experiment, encoder: TextEncoder, mesh: jax.sharding.Mesh
) -> Work:
  """The last stage of the training step, which has every loss.

  Args:
    experiment: as configured, its vocabulary known.
    encoder: its tokenizer.
    mesh: the devices; set as JAX's mesh.

  Raises:
    ValueError: a batch that the devices cannot share.
  """
  check_batch(experiment.batch_size, mesh)
  plain = dataclasses.replace(without_remat(experiment), microbatches=1)
  step = _step(experiment, encoder, mesh)
  counted = _step(plain, encoder, mesh)
  state, batch = step.inputs
  return Work(
    name="train",
    lower=lambda: step.jitted[-1].trace(state, batch).lower(),
    model_flops=count_flops(counted.jaxpr(len(counted.jitted) - 1)),
    examples=experiment.batch_size,
    inputs={
      "parameters": state.params,
      "optimiser": state.opt_state,
      "ema": state.ema,
      "queue": state.carry,
      "batch": batch,
    },
  )


def _step(experiment, encoder, mesh) -> Step:
  task, ema = make_task(experiment, encoder), experiment.optimizer.ema_decay > 0
  optimizer = make_optimizer(experiment.optimizer)
  like = abstract_state(task, optimizer, ema=ema, mesh=mesh)
  return make_step(experiment, task, like=like, mesh=mesh)


def evaluation_works(
  name: str,
  experiment: Experiment,
  encoder: TextEncoder,
  mesh: jax.sharding.Mesh,
) -> list[Work]:
  """The programs that `slan-eval --task NAME` runs.

  Args:
    name: "retrieval" (both encoders, and ITM of pairs) or "grounding".
    experiment: as configured, its vocabulary known.
    encoder: its tokenizer.
    mesh: the devices; set as JAX's mesh.

  Raises:
    ValueError: another evaluation.
  """
  if name not in ("retrieval", "grounding"):
    raise ValueError(
      f"--task={name}: only retrieval and grounding can be planned"
    )
  task = make_task(experiment, encoder)
  params = abstract_params(task, mesh)
  options, length = experiment.evaluation, experiment.text.max_length
  image, text = options.batch_size, options.pair_batch_size
  shapes = task.batch_spec

  def rows(key: str, count: int) -> jax.ShapeDtypeStruct:
    array = shapes[key]
    return _placed((count, *array.shape[1:]), array.dtype, mesh)

  def call(key: str, count: int, *inputs: Tree) -> Work:
    function = jax.jit(task.predict[key])
    traced = function.trace(params, *inputs)
    held = {"parameters": params, "batch": inputs}
    flops = count_flops(traced.jaxpr)
    return Work(key, traced.lower, flops, count, held)

  def texts(count: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    return tuple(
      _placed((count, length), shapes[key].dtype, mesh)
      for key in ("text", "text_mask")
    )

  states = [
    jax.tree.map(
      lambda leaf: _placed(leaf.shape, leaf.dtype, mesh),
      jax.eval_shape(task.predict[key], params, *inputs),
    )
    for key, inputs in (
      ("encode_image", [rows("image", text)]),
      ("encode_text", texts(text)),
    )
  ]
  encode = call("encode_image", image, rows("image", image))
  if name == "grounding":
    return [encode, call("ground", text, states[0], *texts(text))]
  return [
    encode,
    call("encode_text", image, *texts(image)),
    call("itm", text, *states),
  ]


def _placed(shape, dtype, mesh) -> jax.ShapeDtypeStruct:
  """Rows over the devices when they divide, as evaluation places them."""
  divides = shape and shape[0] % mesh.size == 0
  place = batch_sharding(mesh) if divides else replicated(mesh)
  return jax.ShapeDtypeStruct(shape, dtype, sharding=place)


def bytes_per_device(tree: Tree) -> int:
  """Memory that one device needs for its part of a tree."""
  total = 0
  for leaf in jax.tree.leaves(tree):
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      part = leaf.sharding.shard_shape(leaf.shape)
      size = leaf.dtype.itemsize
      for side in part:
        size *= side
      total += size
  return total
