"""Peak arithmetic rate of the devices, the measure of their utilisation."""

import math
import time

import jax
import jax.numpy as jnp

from slan_jax.training.sharding import batch_sharding, replicated

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
  "NVIDIA L40": 181e12,
  "NVIDIA L40S": 362e12,
  "NVIDIA B200": 2250e12,
}


def known_peak(kind: str) -> float | None:
  """Tabled FLOP/s of a device kind, or None."""
  fitting = [start for start in PEAKS if kind.startswith(start)]
  return PEAKS[max(fitting, key=len)] if fitting else None


def measured_peak(
  mesh: jax.sharding.Mesh, size: int = 1024, repeats: int = 5
) -> float:
  """FLOP/s of all devices multiplying float32 matrices side by side.

  Side by side, because the devices that a CPU counts as may share its cores.

  Args:
    mesh: the devices.
    size: rows and columns of each device's matrix.
    repeats: products timed, of which the fastest counts: other work on the
      machine only slows some.
  """
  make = jax.jit(
    lambda: (jnp.ones((mesh.size * size, size)), jnp.ones((size, size))),
    out_shardings=(batch_sharding(mesh), replicated(mesh)),
  )
  product = jax.jit(jnp.matmul, out_shardings=batch_sharding(mesh))
  rows, columns = make()
  product(rows, columns).block_until_ready()
  best = math.inf
  for _ in range(repeats):
    start = time.perf_counter()
    product(rows, columns).block_until_ready()
    best = min(best, time.perf_counter() - start)
  return 2.0 * size**3 * mesh.size / best


def peak_flops(mesh: jax.sharding.Mesh) -> float:
  """FLOP/s of all devices of a mesh together: tabled, or else measured."""
  kind = mesh.devices.flat[0].device_kind
  if (peak := known_peak(kind)) is not None:
    return peak * mesh.size
  return measured_peak(mesh, 1024 if jax.default_backend() == "cpu" else 8192)
