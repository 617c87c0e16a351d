"""What a task is to the training loop and to evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Tree = Any
# name -> (sum, count), float32 scalars: means stay right across hosts.
Metrics = dict[str, tuple[jax.Array, jax.Array]]


class Task(NamedTuple):
  """A record of pure functions.

  Attributes:
    name: the task's name in logs and errors.
    batch_spec: name -> shape and dtype of one global batch.
    init: key -> (params, carry); the carry holds arrays that live from step
      to step outside the gradient, such as the contrastive queues.
    loss: (params, ema, carry, batch, *, key, step, stage) ->
      (float32 scalar, (metrics, carry)); `stage` is a Python int.
    predict: named pure functions, parameters first, that evaluation drives.
    stages: steps at which stage 1, 2, ... begin; empty for one stage.
  """

  name: str
  batch_spec: dict[str, jax.ShapeDtypeStruct]
  init: Callable[..., tuple[Tree, Tree]]
  loss: Callable[..., tuple[jax.Array, tuple[Metrics, Tree]]]
  predict: dict[str, Callable[..., Tree]]
  stages: tuple[int, ...]
