"""Peak arithmetic rate of the devices, the measure of their utilisation."""

import math
import time

import jax
import jax.numpy as jnp

# Start of `device_kind` -> dense bfloat16 FLOP/s of one JAX device, from the
# makers' data sheets: cloud.google.com/tpu/docs/system-architecture-tpu-vm
# (v2 and v3 count one of a chip's two cores) and nvidia.com/data-center (SXM
# figures without sparsity). The longest start that fits decides.
PEAKS = {
  "TPU v2": 22.5e12,
  "TPU v3": 61.5e12,
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v5e": 197e12,
  "TPU v5": 459e12,
  "TPU v6 lite": 918e12,
  "TPU v6e": 918e12,
  "NVIDIA A100": 312e12,
  "NVIDIA H100": 989e12,
  "NVIDIA H200": 989e12,
  "NVIDIA L4": 121e12,
  "NVIDIA B200": 2250e12,
}


def known_peak(kind: str) -> float | None:
  """Tabled FLOP/s of a device kind, or None."""
  fitting = [start for start in PEAKS if kind.startswith(start)]
  return PEAKS[max(fitting, key=len)] if fitting else None


def measured_peak(size: int = 1024, repeats: int = 5) -> float:
  """FLOP/s of this process's devices multiplying matrices side by side.

  Side by side, because the devices that a CPU counts as may share its cores.

  Args:
    size: rows and columns of a square float32 matrix.
    repeats: products timed, of which the fastest counts: other work on the
      machine only slows some.
  """
  product = jax.jit(lambda a: a @ a)
  matrix = jnp.ones((size, size), jnp.float32)
  matrices = [jax.device_put(matrix, device) for device in jax.local_devices()]
  jax.block_until_ready([product(each) for each in matrices])
  best = math.inf
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready([product(each) for each in matrices])
    best = min(best, time.perf_counter() - start)
  return 2.0 * size**3 * len(matrices) / best


def peak_flops() -> float:
  """FLOP/s of all devices of the run together: tabled, or else measured."""
  kind = jax.devices()[0].device_kind
  if (peak := known_peak(kind)) is not None:
    return peak * jax.device_count()
  size = 1024 if jax.default_backend() == "cpu" else 8192
  return measured_peak(size) * jax.process_count()
