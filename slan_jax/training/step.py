"""The training step: from state and batch to state, one program per stage.

The stages of a run are separate programs rather than branches of one: XLA
compiles what stands inside a conditional less well (on CPUs the gradient of a
convolution by its kernel takes fifty times as long there).
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.interpreters import partial_eval

from slan_jax.tasks.task import Metrics, Task
from slan_jax.training.sharding import batch_sharding, replicated
from slan_jax.training.state import TrainState

Tree = Any


def stage_of(step: int, stages: tuple[int, ...]) -> int:
  """Stage of a step: how many of the boundaries it has reached."""
  return sum(step >= boundary for boundary in stages)


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
  loss: Callable[..., tuple],
  optimizer: optax.GradientTransformation,
  schedule: Callable[[jax.Array], jax.Array],
  *,
  ema_decay: float,
  copy: Callable[[Tree], Tree] = lambda params: params,
) -> Callable[[TrainState, Tree], tuple[TrainState, Metrics]]:
  """The step as a pure function; see `Step` for the compiled ones.

  A step whose loss or gradient is not finite leaves parameters, moments, EMA
  and carry as they were and is counted; its metrics have count 0.

  Args:
    loss: of one stage, see `Task.loss`.
    optimizer: direction of the update, without the learning rate.
    schedule: learning rate of a step.
    ema_decay: share of the old average that is kept; 0 = no EMA.
    copy: of `make_copy`, what the loss gets in place of the parameters.

  Returns:
    (state, batch) -> (state, metrics).
  """

  def of_copy(params: Tree, ema: Tree, *rest, **keywords):
    return loss(copy(params), copy(ema) if ema else ema, *rest, **keywords)

  gradient = jax.value_and_grad(of_copy, has_aux=True)

  def update(state: TrainState, batch: Tree) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(state.key, state.step)
    (value, (metrics, carry)), grads = gradient(
      state.params, state.ema, state.carry, batch, key=key, step=state.step
    )
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
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
    metrics = metrics | {"loss": (value, one), "gradient_norm": (norm, one)}
    metrics = _choose(finite, metrics, jax.tree.map(jnp.zeros_like, metrics))
    metrics["learning_rate"] = (rate, one)
    skipped = new.skipped_in_a_row.astype(jnp.float32)
    metrics["skipped_in_a_row"] = (skipped, one)
    return new, metrics

  return update


class Step:
  """The compiled steps of all stages: state donated, every sharding fixed.

  Attributes:
    jitted: stage -> jitted (state, batch) -> (state, metrics).
    inputs: shapes and shardings of its arguments.
  """

  def __init__(
    self,
    task: Task,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[jax.Array], jax.Array],
    *,
    ema_decay: float,
    like: TrainState,
    mesh: jax.sharding.Mesh,
    copy: Callable[[Tree], Tree] = lambda params: params,
  ):
    """Compiles nothing yet.

    Args:
      task: gives loss and stages.
      optimizer: direction of the update, without the learning rate.
      schedule: learning rate of a step.
      ema_decay: share of the old average that is kept; 0 = no EMA.
      like: shapes and shardings of the state (`abstract_state`).
      mesh: devices of the run.
      copy: of `make_copy`, what the loss gets in place of the parameters.
    """
    places = jax.tree.map(lambda leaf: leaf.sharding, like)
    self._stages = task.stages
    self.inputs = (like, abstract_batch(task, mesh))
    self.jitted = [
      jax.jit(
        make_update(
          functools.partial(task.loss, stage=stage),
          optimizer,
          schedule,
          ema_decay=ema_decay,
          copy=copy,
        ),
        in_shardings=(places, batch_sharding(mesh)),
        out_shardings=(places, replicated(mesh)),
        donate_argnums=0,
      )
      for stage in range(len(task.stages) + 1)
    ]
    self._programs: dict[int, Callable[..., tuple]] = {}
    self._jaxprs: dict[int, Any] = {}

  def __call__(
    self, state: TrainState, batch: Tree, number: int
  ) -> tuple[TrainState, Metrics]:
    """Takes step `number`, counted from 0; the state passed in is consumed."""
    stage = stage_of(number, self._stages)
    return self._programs.get(stage, self.jitted[stage])(state, batch)

  def jaxpr(self, stage: int) -> Any:
    """The program of a stage; traced once, for compilation too.

    What no output needs is left out, as XLA leaves it out.
    """
    if stage not in self._jaxprs:
      closed = self.jitted[stage].trace(*self.inputs).jaxpr
      used = [True] * len(closed.jaxpr.outvars)
      self._jaxprs[stage] = partial_eval.dce_jaxpr(closed.jaxpr, used)[0]
    return self._jaxprs[stage]

  def compile(self, start: int) -> None:
    """Compiles what a run from step `start` needs, all stages at once.

    What cannot be compiled, or does not fit, fails now and not at a boundary.
    """
    stages = range(stage_of(start, self._stages), len(self.jitted))
    lowered = [self.jitted[s].trace(*self.inputs).lower() for s in stages]
    with ThreadPoolExecutor() as threads:
      programs = threads.map(lambda program: program.compile(), lowered)
      self._programs = dict(zip(stages, programs))
