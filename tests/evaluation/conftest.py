"""Meshes that evaluations run on."""

import functools

import jax
import numpy as np
import pytest

from slan_jax.jobs.setting import place
from slan_jax.training.config import Mesh
from slan_jax.training.sharding import make_mesh


@pytest.fixture(params=[2, 4])
def put(request):
  """Places batches on a mesh of two or of four devices, as jobs do."""
  count = request.param
  mesh = make_mesh(
    Mesh(data=-1, fsdp=1, gather="step", cpu_devices=8), jax.devices()[:count]
  )
  with jax.set_mesh(mesh):
    shards = place(np.zeros(4), mesh).addressable_shards
    assert [shard.data.size for shard in shards] == [4 // count] * count
    yield functools.partial(place, mesh=mesh)
