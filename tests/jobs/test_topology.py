"""Devices that are not here: their names, their chip, how fast they send."""

import importlib.util
import types

import jax
import pytest

from slan_jax.jobs import topology
from slan_jax.training.chips import find_chip


def torus(*sides: int, kind: str = "TPU v5 lite") -> topology.Topology:
  """A slice of chips with coordinates, row by row."""
  places = [()]
  for side in sides:
    places = [(*place, i) for place in places for i in range(side)]
  devices = [types.SimpleNamespace(coords=place) for place in places]
  return topology.Topology("torus", devices, find_chip(kind))


def test_chips():
  assert find_chip("TPU v5 lite").flops == 197e12
  assert find_chip("TPU v5").flops == 459e12  # v5p
  assert find_chip("TPU v6 lite").memory == 31.25 * 2**30
  assert find_chip("cpu") is None


def test_rings_run_along_the_axes_that_a_group_spans():
  small, link = torus(8, 8), 50e9
  row, everyone = tuple(range(8)), tuple(range(64))
  # Eight chips in line: one link each way, and the ends have no other.
  assert small.rate(row, small.devices) == link
  assert small.rate(everyone, small.devices) == 2 * link
  large = torus(16, 16)  # closed to rings
  assert large.rate(tuple(range(16)), large.devices) == 2 * link
  assert large.rate(tuple(range(256)), large.devices) == 4 * link
  # Half of them: one axis is whole, of the other a line of eight.
  assert large.rate(tuple(range(128)), large.devices) == 3 * link
  cube = torus(4, 4, 4, kind="TPU v5")
  assert cube.rate(tuple(range(64)), cube.devices) == 6 * 100e9


def test_cpu_devices():
  found = topology.find_topology("cpu:4")
  assert found.devices == jax.devices()[:4]
  assert found.chip is None
  with pytest.raises(ValueError, match="cpu:99: this process has 8 CPU"):
    topology.find_topology("cpu:99")


@pytest.mark.parametrize("name", ["v5e", "8x8", "cpu:0", "h100:8", "v5e:8"])
def test_names_that_do_not_read(name):
  with pytest.raises(ValueError, match=r"expected cpu:N, or a TPU slice"):
    topology.find_topology(name)


def test_the_missing_extra_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match=r"needs libtpu.*slan_jax\[tpu\]"):
    topology.find_topology("v5e:8x8")
