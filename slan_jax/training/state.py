"""Everything a run must remember between two steps, arrays only."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from slan_jax.tasks.task import Task
from slan_jax.training import sharding

Tree = Any


class TrainState(NamedTuple):
  """The state of a run; a checkpoint holds all of it.

  Attributes:
    step: int32 scalar, optimiser steps taken or skipped so far.
    params: float32 parameters.
    ema: exponential moving average of the parameters; {} when it is off.
    opt_state: Adam's moments and count.
    carry: the task's arrays outside the gradient, such as queues.
    key: typed PRNG key of the run; never changes, each step folds itself in.
    skipped_in_a_row: int32 scalar, non-finite steps since the last good one.
    skipped_total: int32 scalar, non-finite steps of the whole run.
  """

  step: jax.Array
  params: Tree
  ema: Tree
  opt_state: Tree
  carry: Tree
  key: jax.Array
  skipped_in_a_row: jax.Array
  skipped_total: jax.Array


def new_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  *,
  key: jax.Array,
  ema: bool,
) -> TrainState:
  """The state before the first step; traced under `jit` or `eval_shape`.

  Args:
    task: gives parameters and carry.
    optimizer: gives its own state.
    key: the run's typed PRNG key.
    ema: whether an EMA copy of the parameters is kept.
  """
  init_key, run_key = jax.random.split(key)
  params, carry = task.init(init_key)
  zero = jnp.zeros((), jnp.int32)
  return TrainState(
    step=zero,
    params=params,
    ema=params if ema else {},
    opt_state=optimizer.init(params),
    carry=carry,
    key=run_key,
    skipped_in_a_row=zero,
    skipped_total=zero,
  )


def state_shardings(state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
  """A sharding for every array of a state (or of its shapes)."""
  shardings = sharding.parameter_shardings(state, mesh)
  return shardings._replace(carry=sharding.carry_shardings(state.carry, mesh))


def abstract_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  *,
  ema: bool,
  mesh: jax.sharding.Mesh,
) -> TrainState:
  """Shapes, dtypes and shardings of a state, without any arithmetic.

  Args:
    task: gives parameters and carry.
    optimizer: gives its own state.
    ema: whether an EMA copy of the parameters is kept.
    mesh: where the state shall live.

  Returns:
    The state's tree with `jax.ShapeDtypeStruct` leaves.
  """
  shapes = jax.eval_shape(
    lambda: new_state(task, optimizer, key=jax.random.key(0), ema=ema)
  )
  return _placed(shapes, state_shardings(shapes, mesh))


def init_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  *,
  seed: int,
  ema: bool,
  mesh: jax.sharding.Mesh,
) -> TrainState:
  """Bears the state in its final sharding: no device ever holds it whole.

  The values depend on the seed alone, not on the mesh.
  """
  abstract = abstract_state(task, optimizer, ema=ema, mesh=mesh)
  init = _compiled_once(
    lambda key: new_state(task, optimizer, key=key, ema=ema), abstract
  )
  return init(jax.random.key(seed))


def shapes(state: TrainState) -> TrainState:
  """Shapes, dtypes and shardings of a state that is there."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=leaf.sharding
    ),
    state,
  )


def abstract_params(task: Task, mesh: jax.sharding.Mesh) -> Tree:
  """Shapes, dtypes and shardings of a task's parameters."""
  shapes = jax.eval_shape(lambda: task.init(jax.random.key(0))[0])
  return _placed(shapes, sharding.parameter_shardings(shapes, mesh))


def init_params(task: Task, *, seed: int, mesh: jax.sharding.Mesh) -> Tree:
  """The parameters that `init_state` begins with, and nothing else."""
  init = _compiled_once(
    lambda key: task.init(jax.random.split(key)[0])[0],
    abstract_params(task, mesh),
  )
  return init(jax.random.key(seed))


def _compiled_once(function: Callable[..., Tree], abstract: Tree):
  """Jits what runs a single time, into the shardings of `abstract`."""
  options = None
  if jax.default_backend() == "cpu":
    # Hundreds of small random kernels: optimising them takes twice as long.
    options = {"xla_backend_optimization_level": 0}
  places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  return jax.jit(function, out_shardings=places, compiler_options=options)


def _placed(shapes: Tree, places: Tree) -> Tree:
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    shapes,
    places,
  )
