"""What the training loop works with, what it counts and what it gives back."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.log import Log
from slan_jax.training.progress import Clock, Display
from slan_jax.training.state import TrainState

Tree = Any


class Intervals(NamedTuple):
  """How long a run is and how often it does what.

  Attributes:
    total_steps: optimiser steps of the run.
    batch_size: examples per step over all devices.
    log_every: steps between log lines.
    save_every: steps between checkpoints.
    evaluate_every: steps between evaluations; 0 = never.
    max_skipped: non-finite steps in a row that are too many.
    max_rollbacks: returns to a checkpoint after that before the run ends.
  """

  total_steps: int
  batch_size: int
  log_every: int
  save_every: int
  evaluate_every: int
  max_skipped: int
  max_rollbacks: int


class Tools(NamedTuple):
  """What the loop works with.

  Attributes:
    step: (state, batch, number) -> (state, metrics); number counts from 0.
    put: host batch -> global arrays.
    evaluate: (state, step) -> the score that decides the best checkpoint, or
      None; writes its own records.
    skipped: -> reason -> records that the input passed over or cut so far.
    checkpoints: where the state is saved.
    log: where metrics are written.
    clock: measures speed.
    display: shows progress.
    sources: (position, skipped) -> what each source of the data gave so far,
      for the log.
  """

  step: Callable[[TrainState, Tree, int], tuple[TrainState, Tree]]
  put: Callable[[Tree], Tree]
  evaluate: Callable[[TrainState, int], float | None]
  skipped: Callable[[], Mapping[str, int]]
  checkpoints: Checkpoints
  log: Log
  clock: Clock
  display: Display
  sources: Callable[[int, Mapping[str, int]], Mapping[str, float]]


@dataclasses.dataclass
class Host:
  """What the host counts; saved with every checkpoint.

  Attributes:
    position: global batches that the input has handed out.
    evaluated: last step that was evaluated; -1 = none.
    averages: sums and counts since the last log line.
    skipped: reason -> records that the input passed over or cut.
    seconds: time spent training, of all processes of the run so far.
    rollbacks: [step, checkpoint] of each return to a checkpoint.
  """

  position: int = 0
  evaluated: int = -1
  averages: dict[str, list[float]] = dataclasses.field(default_factory=dict)
  skipped: dict[str, int] = dataclasses.field(default_factory=dict)
  seconds: float = 0.0
  rollbacks: list[list[int]] = dataclasses.field(default_factory=list)


class Outcome(NamedTuple):
  """How a run ended.

  Attributes:
    state: the last state.
    host: the host's counts beside it.
    signal: number of the signal that stopped it, or None when it is complete.
  """

  state: TrainState
  host: Host
  signal: int | None
