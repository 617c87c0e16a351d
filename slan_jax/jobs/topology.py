"""Devices to plan for, whether they are here or not: `v5e:8x8`, `cpu:8`."""

import importlib.util
import os
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from slan_jax.jobs import common
from slan_jax.training.chips import Chip, find_chip


class Topology(NamedTuple):
  """A slice of accelerators, or a CPU split into devices.

  Attributes:
    name: as asked for.
    devices: JAX devices, maybe only described.
    chip: what one of them can do; None = unknown, as of a CPU.
  """

  name: str
  devices: list[Any]
  chip: Chip | None

  def rate(self, group: tuple[int, ...], order: list[Any]) -> float:
    """Bytes per second that each device of a group can send to the others.

    A ring runs along every axis of the torus that the group spans: both ways
    where the group has all of an axis that closes, one way along a line.

    Args:
      group: positions in `order`.
      order: the devices as the mesh lists them.
    """
    members = [order[index].coords for index in group]
    whole = [device.coords for device in order]
    links = 0
    for axis in range(len(whole[0])):
      own = {coords[axis] for coords in members}
      side = {coords[axis] for coords in whole}
      closes = len(side) >= self.chip.wrap and len(side) % 4 == 0
      if len(own) > 1:
        links += 2 if closes and own == side else 1
    return max(links, 1) * self.chip.link


def find_topology(name: str) -> Topology:
  """Describes the devices of a name; must come before any array is made.

  Args:
    name: "cpu:N", or a TPU slice "GENERATION:SIDExSIDE[xSIDE]".

  Raises:
    ValueError: a name that does not read, a slice that libtpu does not know,
      or no libtpu to describe one.
  """
  kind, _, size = name.partition(":")
  if kind == "cpu" and size.isdigit() and int(size):
    common.use_cpu_devices(int(size))
    devices = jax.devices("cpu")
    if len(devices) < int(size):
      raise ValueError(
        f"--topology={name}: this process has {len(devices)} CPU device(s); "
        "take --xla_force_host_platform_device_count out of XLA_FLAGS"
      )
    return Topology(name, devices[: int(size)], None)
  if not re.fullmatch(r"v\d\w*:\d+x\d+(x\d+)?", name):
    raise ValueError(
      f"--topology={name}: expected cpu:N, or a TPU slice as v5e:8x8, "
      "v6e:16x16 or v5p:4x4x4"
    )
  devices = _describe(name)
  chip = find_chip(devices[0].device_kind)
  if chip is None:
    raise ValueError(
      f"--topology={name}: nothing is known of {devices[0].device_kind}; add "
      "it to slan_jax/training/chips.py"
    )
  return Topology(name, devices, chip)


def _describe(name: str) -> list[Any]:
  if importlib.util.find_spec("libtpu") is None:
    raise ValueError(
      f"--topology={name} needs libtpu, which compiles for TPUs on any "
      "machine: pip install 'slan_jax[tpu]'"
    )
  os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # this machine is no TPU host
  os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # nothing will run on one
  jax.config.update("jax_platforms", "cpu")
  sides = [int(side) for side in name.split(":")[1].split("x")]
  options = {}
  if max(sides) == 1:  # less than a host
    options["chips_per_host_bounds"] = [1, 1, 1]
  try:
    found = topologies.get_topology_desc(name, "tpu", **options)
  except (RuntimeError, NotImplementedError) as error:
    raise ValueError(f"--topology={name}: {error}") from error
  return list(found.devices)
