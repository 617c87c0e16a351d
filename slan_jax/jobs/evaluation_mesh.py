"""The mesh of an evaluation, which need not be the one of its run."""

import dataclasses
import math
import re

import jax

from slan_jax.training.config import Mesh

_SIZE = re.compile(r"(data|fsdp)=(-1|[1-9]\d*)")


def evaluation_mesh(own: Mesh, asked: str | None = None) -> Mesh:
  """Devices per axis, over all devices that are here.

  Args:
    own: of the run; its fsdp is kept where it divides the devices, and the
      rest go along data.
    asked: what takes its place, as "data=2,fsdp=4"; -1, or an axis that is not
      named, is all that remain. None = nothing.

  Raises:
    ValueError: `asked` is not of that form, or does not fit the devices.
  """
  devices = jax.device_count()
  if asked is None:
    fits = own.fsdp > 0 and devices % own.fsdp == 0
    return dataclasses.replace(own, data=-1, fsdp=own.fsdp if fits else 1)
  found = [_SIZE.fullmatch(part) for part in asked.split(",")]
  sizes = {match[1]: int(match[2]) for match in found if match}
  known = [size for size in sizes.values() if size != -1]
  if not known or len(sizes) < len(found):  # not a size, or an axis twice
    raise ValueError(
      f"--mesh={asked}: expected data=N,fsdp=M or one of them, numbers of "
      "devices, of which one may be -1 (all that remain)"
    )
  rest = devices // math.prod(known)
  sizes = {"data": -1, "fsdp": -1} | sizes
  sizes = {name: rest if n == -1 else n for name, n in sizes.items()}
  if math.prod(sizes.values()) != devices:
    raise ValueError(
      f"--mesh={asked} does not fit {devices} device(s): data and fsdp must "
      "multiply to that number"
    )
  return dataclasses.replace(own, **sizes)
