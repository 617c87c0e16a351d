"""Switches of the training loop, as frozen dataclasses.

No field has a default: every value, with its meaning and unit, stands once in
`configs/base.py`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW, its schedule, its guard, and the EMA copy (section 4.1)."""

  learning_rate: float
  warmup_steps: int
  decay: str
  final_fraction: float
  b1: float
  b2: float
  eps: float
  weight_decay: float
  clip_norm: float
  ema_decay: float
  max_skipped: int
  max_rollbacks: int
  frozen: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Devices along each mesh axis; -1 takes all that remain.

  `cpu_devices` is the number of devices a CPU without accelerator counts as.
  """

  data: int
  fsdp: int
  gather: str
  cpu_devices: int


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """Steps between saves, and how many are kept beside the best."""

  every_steps: int
  keep: int


@dataclasses.dataclass(frozen=True)
class Log:
  """Steps between log lines."""

  every_steps: int
