"""How long a save keeps training from going on, and what it costs beside.

`python -m benchmarks.saving --arrays 300 --side 64`: parameters and both of
Adam's moments are saved five times, each when the one before is written. The
first is left out: it starts Orbax's threads.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.state import TrainState


def measure(arrays: int, side: int, saves: int = 5) -> dict[str, float]:
  """Medians over saves.

  Args:
    arrays: parameters, each with two moments.
    side: of each square float32 array.
    saves: how many, without the first.

  Returns:
    Seconds: `blocked` and its processor time `blocked_cpu`, `behind_cpu` of the
    threads that write while training goes on.
  """
  zero = jnp.zeros((), jnp.int32)
  params = {f"p{n}": jnp.ones((side, side)) for n in range(arrays)}
  moments = {"mu": params, "nu": params}
  found: dict[str, list[float]] = {
    "blocked": [], "blocked_cpu": [], "behind_cpu": [],
  }  # fmt: skip
  with tempfile.TemporaryDirectory() as directory:
    checkpoints = Checkpoints(Path(directory))
    for step in range(saves + 1):
      key = jax.random.key(0)
      state = TrainState(
        jnp.int32(step), params, {}, moments, {}, key, zero, zero
      )
      jax.block_until_ready(state)
      begin = (time.perf_counter(), time.thread_time())
      checkpoints.save(state, {})
      blocked = (time.perf_counter(), time.thread_time())
      behind = time.process_time()
      checkpoints.wait()
      if step:
        found["blocked"].append(blocked[0] - begin[0])
        found["blocked_cpu"].append(blocked[1] - begin[1])
        found["behind_cpu"].append(time.process_time() - behind)
    checkpoints.close()
  return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
  """Prints what `measure` finds."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--arrays", type=int, default=300)
  parser.add_argument("--side", type=int, default=64, help="of each array")
  arguments = parser.parse_args()
  for name, seconds in measure(arguments.arrays, arguments.side).items():
    print(f"{name} {seconds:.3f} s")


if __name__ == "__main__":
  main()
