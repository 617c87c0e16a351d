"""A task small enough to compile in a moment, with every part a task can have:
a carry, randomness, two stages with different metrics."""

import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.tasks.task import Task
from slan_jax.training import config, loop, tools
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.log import Log
from slan_jax.training.optimizer import make_optimizer, make_schedule
from slan_jax.training.progress import Clock, Display
from slan_jax.training.sharding import batch_sharding, make_mesh
from slan_jax.training.state import abstract_state, init_state
from slan_jax.training.step import Step
from slan_jax.training.working_copy import make_copy

IN, WIDTH, OUT, QUEUE = 8, 16, 4, 32
OPTIONS = config.Optimizer(
  learning_rate=0.05,
  warmup_steps=2,
  decay="linear",
  final_fraction=0.0,
  b1=0.9,
  b2=0.99,
  eps=1e-8,
  weight_decay=0.01,
  clip_norm=1.0,
  ema_decay=0.9,
  max_skipped=3,
  max_rollbacks=1,
  frozen=(),
)


def toy_task(batch_size: int = 16, stages: tuple[int, ...] = (3,)) -> Task:
  """Regression with a noisy hidden layer and a queue of past hidden states."""

  def init(key: jax.Array) -> tuple[Any, Any]:
    first, second = jax.random.split(key)
    params = {
      "encoder": {
        "kernel": jax.random.normal(first, (IN, WIDTH)) / 3,
        "bias": jnp.zeros((WIDTH,)),
      },
      "head": {"kernel": jax.random.normal(second, (WIDTH, OUT)) / 4},
    }
    return params, {"queue": jnp.zeros((QUEUE, WIDTH))}

  def loss(params, ema, carry, batch, *, key, step, stage: int):
    layer = params["encoder"]
    states = jnp.tanh(batch["x"] @ layer["kernel"] + layer["bias"][None])
    states += 0.01 * jax.random.normal(key, states.shape)
    error = jnp.square(states @ params["head"]["kernel"] - batch["y"])
    value = jnp.mean(error)
    count = jnp.float32(error.size)
    metrics = {"error": (jnp.sum(error), count)}
    if stage == 1:
      spread = jnp.mean(jnp.square(states @ carry["queue"].T))
      value += 0.1 * spread
      metrics["spread"] = (spread, jnp.ones(()))
    queue = jnp.concatenate([states, carry["queue"]])[:QUEUE]
    return value, (metrics, {"queue": jax.lax.stop_gradient(queue)})

  spec = {
    "x": jax.ShapeDtypeStruct((batch_size, IN), jnp.float32),
    "y": jax.ShapeDtypeStruct((batch_size, OUT), jnp.float32),
  }
  return Task("toy", spec, init, loss, {}, stages)


def toy_batch(index: int, batch_size: int = 16) -> dict[str, np.ndarray]:
  """The batch at a position of the toy's endless data."""
  rng = np.random.default_rng(index)
  x = rng.normal(size=(batch_size, IN)).astype(np.float32)
  return {"x": x, "y": np.sin(x[:, :OUT])}


def build(
  task: Task,
  *,
  data: int = 1,
  fsdp: int = 1,
  gather: str = "step",
  total_steps: int = 20,
  ema: bool = True,
  seed: int = 0,
):
  """Mesh, abstract state, state and step of a task on data x fsdp devices."""
  devices = jax.devices()[: data * fsdp]
  sizes = config.Mesh(data=data, fsdp=fsdp, gather=gather, cpu_devices=8)
  mesh = make_mesh(sizes, devices)
  optimizer = make_optimizer(OPTIONS)
  like = abstract_state(task, optimizer, ema=ema, mesh=mesh)
  state = init_state(task, optimizer, seed=seed, ema=ema, mesh=mesh)
  step = Step(
    task,
    optimizer,
    make_schedule(OPTIONS, total_steps),
    ema_decay=OPTIONS.ema_decay if ema else 0.0,
    like=like,
    mesh=mesh,
    copy=make_copy(like.params, dtype="float32", gather=gather),
  )
  return mesh, like, state, step


def assert_trees_equal(first, second) -> None:
  """Same structure, same names, same bits."""
  left = jax.tree_util.tree_leaves_with_path(first)
  right = jax.tree_util.tree_leaves_with_path(second)
  assert [path for path, _ in left] == [path for path, _ in right]
  for (path, a), (_, b) in zip(left, right):
    if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
      a, b = jax.random.key_data(a), jax.random.key_data(b)
    np.testing.assert_array_equal(
      np.asarray(a), np.asarray(b), err_msg=jax.tree_util.keystr(path)
    )


class Data:
  """The toy's endless data, as the input wing hands it out."""

  def __init__(self, position: int = 0, poison: frozenset[int] = frozenset()):
    self.position, self.poison, self.skipped = position, poison, {}

  def __iter__(self):
    return self

  def __next__(self) -> dict[str, np.ndarray]:
    batch = toy_batch(self.position)
    if self.position in self.poison:
      batch["x"][0, 0] = np.nan
    self.position += 1
    return batch


def train(
  workdir: Path,
  *,
  total_steps: int = 10,
  until: int | None = None,
  poison: frozenset[int] = frozenset(),
  on_batch=lambda position: None,
  keep: int = 3,
  rollbacks: int = 1,
  built=None,
) -> tools.Outcome:
  """Runs or resumes the toy in a work directory, as a job would.

  Args:
    workdir: where its records lie.
    total_steps: length of the run.
    until: step before which SIGTERM reaches the process; None = never.
    poison: positions whose data are not finite.
    on_batch: called with the position of each batch that is placed.
    keep: checkpoints kept.
    rollbacks: how often it goes back before it gives up.
    built: of `build`, to spare a compilation.
  """
  mesh, like, state, step = built or build(toy_task(), total_steps=total_steps)
  checkpoints = Checkpoints(workdir / "checkpoints", keep=keep)
  found = checkpoints.restore_newest(like)
  host = tools.Host(**found[1]) if found else tools.Host()
  state = found[0] if found else jax.tree.map(lambda leaf: leaf.copy(), state)
  data = Data(host.position, poison)
  log = Log(workdir, int(state.step))

  def put(batch):
    on_batch(data.position)
    if data.position == until:
      signal.raise_signal(signal.SIGTERM)
    return jax.device_put(batch, batch_sharding(mesh))

  def evaluate(state, step) -> float:
    score = -float(jnp.mean(jnp.abs(state.params["head"]["kernel"])))
    log.evaluation(step, {"score": score})
    return score

  equipment = tools.Tools(
    step=step,
    put=put,
    evaluate=evaluate,
    skipped=lambda: data.skipped,
    checkpoints=checkpoints,
    log=log,
    clock=Clock(lambda step: 1e3, 1e9),
    display=Display(int(state.step), total_steps),
    sources=lambda position, skipped: {"seen_toys": 16 * position},
  )
  intervals = tools.Intervals(
    total_steps, 16, 3, 4, 5, OPTIONS.max_skipped, rollbacks
  )
  try:
    return loop.run(state, data, host, intervals, equipment)
  finally:
    checkpoints.close()
    log.close()
