"""The training step: one compiled function from state and batch to state."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from slan_jax.tasks.task import Metrics, Task
from slan_jax.training.sharding import batch_sharding, replicated
from slan_jax.training.state import TrainState

Tree = Any


def stage_of(step: jax.Array, stages: tuple[int, ...]) -> jax.Array:
  """Stage of a step: how many of the boundaries it has reached (int32)."""
  return sum(
    ((step >= boundary).astype(jnp.int32) for boundary in stages),
    start=jnp.zeros((), jnp.int32),
  )


def make_gradient(task: Task) -> Callable[..., tuple]:
  """The task's loss and gradient as one function that chooses the stage.

  Stages may report different metrics: one that a stage lacks has count 0.

  Args:
    task: gives loss and stages.

  Returns:
    (state, batch) -> (loss, metrics, carry, gradient).
  """

  def make_branch(stage: int) -> Callable[..., tuple]:
    loss = functools.partial(task.loss, stage=stage)

    @jax.jit  # traced once, although it is looked at twice
    def branch(state: TrainState, batch: Tree, key: jax.Array) -> tuple:
      gradient = jax.value_and_grad(loss, has_aux=True)
      (value, (metrics, carry)), grads = gradient(
        state.params, state.ema, state.carry, batch, key=key, step=state.step
      )
      return value, metrics, carry, grads

    return branch

  branches = [make_branch(stage) for stage in range(len(task.stages) + 1)]

  def gradient(state: TrainState, batch: Tree) -> tuple:
    inputs = (state, batch, jax.random.fold_in(state.key, state.step))
    if len(branches) == 1:
      return branches[0](*inputs)
    names = set().union(*(jax.eval_shape(b, *inputs)[1] for b in branches))
    absent = dict.fromkeys(names, (jnp.zeros(()), jnp.zeros(())))

    def alike(branch: Callable[..., tuple]) -> Callable[..., tuple]:
      def padded(*inputs) -> tuple:
        value, metrics, carry, grads = branch(*inputs)
        return value, absent | metrics, carry, grads

      return padded

    stage = stage_of(state.step, task.stages)
    return jax.lax.switch(stage, [alike(b) for b in branches], *inputs)

  return gradient


def abstract_batch(task: Task, mesh: jax.sharding.Mesh) -> Tree:
  """Shapes, dtypes and shardings of a global batch on the devices."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=batch_sharding(mesh)
    ),
    task.batch_spec,
  )


def _choose(condition: jax.Array, new: Tree, old: Tree) -> Tree:
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def make_update(
  task: Task,
  optimizer: optax.GradientTransformation,
  schedule: Callable[[jax.Array], jax.Array],
  *,
  ema_decay: float,
) -> Callable[[TrainState, Tree], tuple[TrainState, Metrics]]:
  """The step as a pure function; see `make_step` for the compiled one.

  A step whose loss or gradient is not finite leaves parameters, moments, EMA
  and carry as they were and is counted; its metrics have count 0.

  Args:
    task: gives the loss.
    optimizer: direction of the update, without the learning rate.
    schedule: learning rate of a step.
    ema_decay: share of the old average that is kept; 0 = no EMA.

  Returns:
    (state, batch) -> (state, metrics).
  """
  gradient = make_gradient(task)

  def update(state: TrainState, batch: Tree) -> tuple[TrainState, Metrics]:
    loss, metrics, carry, grads = gradient(state, batch)
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    direction, opt_state = optimizer.update(
      grads, state.opt_state, state.params
    )
    rate = schedule(state.step)
    params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
    ema = jax.tree.map(
      lambda old, new: ema_decay * old + (1.0 - ema_decay) * new,
      state.ema,
      params if state.ema else {},
    )
    bad = 1 - finite.astype(jnp.int32)
    new = TrainState(
      step=state.step + 1,
      params=_choose(finite, params, state.params),
      ema=_choose(finite, ema, state.ema),
      opt_state=_choose(finite, opt_state, state.opt_state),
      carry=_choose(finite, carry, state.carry),
      key=state.key,
      skipped_in_a_row=bad * (state.skipped_in_a_row + 1),
      skipped_total=state.skipped_total + bad,
    )
    one = jnp.ones(())
    metrics = {**metrics, "loss": (loss, one), "gradient_norm": (norm, one)}
    zeros = jax.tree.map(jnp.zeros_like, metrics)
    metrics = _choose(finite, metrics, zeros)
    metrics["learning_rate"] = (rate, one)
    metrics["skipped_in_a_row"] = (
      new.skipped_in_a_row.astype(jnp.float32),
      one,
    )
    return new, metrics

  return update


def make_step(
  task: Task,
  optimizer: optax.GradientTransformation,
  schedule: Callable[[jax.Array], jax.Array],
  *,
  ema_decay: float,
  state: TrainState,
  mesh: jax.sharding.Mesh,
) -> Callable[[TrainState, Tree], tuple[TrainState, Metrics]]:
  """Compiles the step once: state donated, every sharding fixed.

  Args:
    task: gives the loss.
    optimizer: direction of the update, without the learning rate.
    schedule: learning rate of a step.
    ema_decay: share of the old average that is kept; 0 = no EMA.
    state: a state, or its shapes, that carry their shardings.
    mesh: devices of the run.

  Returns:
    Jitted (state, batch) -> (state, metrics); the state passed in is consumed.
    `.trace(state, abstract_batch(task, mesh)).jaxpr` is its program, traced
    for the first call too.
  """
  places = jax.tree.map(lambda leaf: leaf.sharding, state)
  return jax.jit(
    make_update(task, optimizer, schedule, ema_decay=ema_decay),
    in_shardings=(places, batch_sharding(mesh)),
    out_shardings=(places, replicated(mesh)),
    donate_argnums=0,
  )
