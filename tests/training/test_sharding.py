"""Mesh, sharding table, and that no split of the work changes its result."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from configs import pretrain as pretrain_configs
from slan_jax.models.config import Slan
from slan_jax.tasks import pretrain
from slan_jax.tasks.config import Batch, Objective
from slan_jax.training import config, sharding
from slan_jax.training.state import abstract_state
from slan_jax.training.working_copy import make_copy
from tests.models import small
from tests.training.toy import (
  OPTIONS,
  build,
  make_optimizer,
  toy_batch,
  toy_task,
)


def mesh_of(data: int, fsdp: int) -> jax.sharding.Mesh:
  sizes = config.Mesh(data=data, fsdp=fsdp, gather="step", cpu_devices=8)
  return sharding.make_mesh(sizes)


def test_minus_one_takes_the_remaining_devices():
  assert dict(mesh_of(-1, 2).shape) == {"data": 4, "fsdp": 2}
  assert dict(mesh_of(2, -1).shape) == {"data": 2, "fsdp": 4}


def test_a_single_device_needs_no_other_settings():
  alone = jax.devices()[:1]
  sizes = config.Mesh(data=2, fsdp=-1, gather="step", cpu_devices=1)
  assert dict(sharding.make_mesh(sizes, alone).shape) == {"data": 1, "fsdp": 1}
  with pytest.raises(ValueError, match=r"mesh.fsdp=4 does not fit 1 device"):
    sharding.make_mesh(dataclasses.replace(sizes, fsdp=4), alone)


@pytest.mark.parametrize("data, fsdp", [(3, 1), (-1, 3), (-1, -1), (0, 8)])
def test_sizes_that_do_not_fit_are_named(data, fsdp):
  with pytest.raises(ValueError, match=f"mesh.data={data}, mesh.fsdp={fsdp}"):
    mesh_of(data, fsdp)


def test_indivisible_batch_names_its_neighbours():
  with pytest.raises(
    ValueError, match=r"13 is not divisible by the 8.* 8 or 16"
  ):
    sharding.check_batch(13, mesh_of(-1, 1))
  with pytest.raises(ValueError, match=r"use for example 8$"):
    sharding.check_batch(5, mesh_of(-1, 1))
  sharding.check_batch(16, mesh_of(-1, 1))


BIG = sharding.SMALL_BYTES  # elements of four bytes: 4 MB


@pytest.mark.parametrize(
  "path, shape, expected",
  [
    ("text/dense/kernel", (512, BIG // 512), PartitionSpec("fsdp")),
    # Stacked layers: the contracted dimension moves right.
    ("layers/kernel", (3, 512, 2048), PartitionSpec(None, "fsdp")),
    # 511 does not divide: the other side of the matrix does.
    ("dense/kernel", (511, 2048), PartitionSpec(None, "fsdp")),
    ("dense/kernel", (511, 2049), PartitionSpec()),
    ("conv/kernel", (3, 3, 512, 512), PartitionSpec(None, None, "fsdp")),
    ("text/word", (30522, 768), PartitionSpec(None, "fsdp")),
    ("text/position", (2048, 768), PartitionSpec(None, "fsdp")),
    ("norm/scale", (BIG,), PartitionSpec()),
    ("small/kernel", (512, 4), PartitionSpec()),
  ],
)
def test_table(path, shape, expected):
  assert sharding.parameter_spec(path, shape, 4, 4) == expected
  assert sharding.parameter_spec(path, shape, 4, 1) == PartitionSpec()


def test_moments_ema_and_queue_are_born_split(monkeypatch):
  monkeypatch.setattr(sharding, "SMALL_BYTES", 0)
  state = build(toy_task(), data=2, fsdp=4)[2]
  expected = PartitionSpec("fsdp")
  adam = state.opt_state[1]
  for tree in (state.params, state.ema, adam.mu, adam.nu):
    assert tree["encoder"]["kernel"].sharding.spec == expected
    assert tree["encoder"]["bias"].sharding.spec == PartitionSpec()
  assert state.carry["queue"].sharding.spec == PartitionSpec(("data", "fsdp"))
  assert state.carry["queue"].addressable_shards[0].data.shape == (4, 16)


def full_size_task(name: str):
  """The pre-training task of a model of the paper, with BERT's vocabulary."""
  values = pretrain_configs.get_config(name)
  with values.unlocked():
    values.model.text.vocab_size = 30_522
  plain = values.to_dict()
  return pretrain.make_task(
    small.build(Slan, plain["model"]),
    small.build(Objective, plain["objective"]),
    Batch(640, 32, hard_negatives=1, mask_id=4, microbatches=1),
    total_steps=1,
  )


def test_vit_h_fits_where_it_is_split():
  """929 M parameters on eight devices, without making any of them."""
  task = full_size_task("vit_h")
  state = abstract_state(
    task, make_optimizer(OPTIONS), ema=True, mesh=mesh_of(1, 8)
  )
  whole = each = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      continue
    part = np.prod(leaf.sharding.shard_shape(leaf.shape), dtype=int)
    own = part * leaf.dtype.itemsize
    size = leaf.size * leaf.dtype.itemsize
    assert size <= sharding.SMALL_BYTES or own == size // 8, path
    whole, each = whole + size, each + own
  # Parameters, EMA copy and two moments in float32, and the queues.
  assert whole / 4 == pytest.approx(4 * 928.6e6 + 2 * 57_600 * 257, rel=1e-3)
  assert each < 1.02 * whole / 8
  assert whole < 24 * 2**30


@pytest.mark.parametrize("name", ["resnet50", "vit_b", "vit_l", "vit_h"])
def test_nothing_large_is_whole(name):
  """Every parameter above 1 MB of the paper's models is split."""
  shapes, _ = jax.eval_shape(full_size_task(name).init, jax.random.key(0))
  for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
    path = jax.tree_util.keystr(path, simple=True, separator="/")
    for fsdp in (2, 8, 64, 256):
      spec = sharding.parameter_spec(path, leaf.shape, 4, fsdp)
      assert leaf.size * 4 < sharding.SMALL_BYTES or any(spec), (path, fsdp)


def test_queue_that_does_not_divide_is_whole():
  shapes = {"queue": jax.ShapeDtypeStruct((12, 3), np.float32)}
  spec = sharding.carry_shardings(shapes, mesh_of(-1, 1))["queue"].spec
  assert spec == PartitionSpec()


def test_abstract_state_is_the_state():
  task = toy_task()
  mesh, like, state, _ = build(task, data=2, fsdp=2)
  again = abstract_state(task, make_optimizer(OPTIONS), ema=True, mesh=mesh)
  for a, b, c in zip(*map(jax.tree.leaves, (like, state, again))):
    assert (a.shape, a.dtype, a.sharding) == (b.shape, b.dtype, b.sharding)
    assert a == c


def test_mesh_does_not_change_losses_or_parameters(monkeypatch):
  monkeypatch.setattr(sharding, "SMALL_BYTES", 0)
  results = []
  for data, fsdp in [(1, 1), (8, 1), (2, 4)]:
    _, _, state, step = build(toy_task(), data=data, fsdp=fsdp)
    history = []
    for index in range(5):
      state, metrics = step(state, toy_batch(index), index)
      history.append([float(metrics[k][0]) for k in ("loss", "gradient_norm")])
    results.append((history, jax.device_get(state.params)))
  for history, params in results[1:]:
    np.testing.assert_allclose(history, results[0][0], rtol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (params, results[0][1]))):
      np.testing.assert_allclose(a, b, atol=1e-5)


# The whole task on a model that compiles quickly.
PAPER = {
  "objective__queue_size": 16,
  "objective__momentum": True,
  "objective__hard_images": False,
  "objective__negative_pool": 4,
  "model__adaptor__levels": 1,
  "model__pyramid__scales": (1,),
  "model__pyramid__convs": 1,
}


def test_the_whole_task_is_the_same_on_any_mesh(monkeypatch):
  """1, 2, 4 and 8 devices: loss, metrics and gradient to 1e-5."""
  monkeypatch.setattr(sharding, "SMALL_BYTES", 0)
  task = small.small_task("scenes,preset=paper", size=8, **PAPER)
  start = jax.device_get(jax.jit(task.init)(jax.random.key(0)))
  alone, gradient = gradient_on(task, start, 1, 1)
  norm = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
  for data, fsdp in [(2, 1), (1, 4), (4, 2)]:
    found, other = gradient_on(task, start, data, fsdp)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone)):
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    apart = jax.tree.map(lambda a, b: np.sum((a - b) ** 2), other, gradient)
    assert np.sqrt(sum(jax.tree.leaves(apart))) < 1e-5 * norm


def gradient_on(task, start, data: int, fsdp: int):
  """(loss, (metrics, carry)) and gradient on a mesh; compiled once."""
  sizes = config.Mesh(data, fsdp, gather="step", cpu_devices=8)
  mesh = sharding.make_mesh(sizes, jax.devices()[: data * fsdp])
  params, carry = start
  places = sharding.parameter_shardings(params, mesh)
  split = [place for place in jax.tree.leaves(places) if any(place.spec)]
  assert bool(split) == (fsdp > 1)
  rows, queues = (
    sharding.batch_sharding(mesh),
    sharding.carry_shardings(carry, mesh),
  )
  inputs = jax.device_put(
    (params, carry, small.small_batch(task)), (places, queues, rows)
  )
  copy = make_copy(inputs[0], dtype="float32", gather="step")

  def loss(params, carry, batch):
    whole = copy(params)
    ema = jax.tree.map(lambda leaf: 1.01 * leaf, whole)
    return task.loss(
      whole, ema, carry, batch, key=jax.random.key(1), step=0, stage=0
    )

  run = jax.jit(
    jax.value_and_grad(loss, has_aux=True),
    out_shardings=((None, (None, queues)), places),
  )
  with jax.set_mesh(mesh):
    (_, (_, carry)), _ = run(*inputs)
    found = run(inputs[0], carry, inputs[2])
  assert run._cache_size() == 1
  return jax.device_get(found)


@dataclasses.dataclass(frozen=True)
class Described:
  """A chip of a slice that is not here."""

  id: int
  coords: tuple[int, int, int]
  device_kind: str
  platform: str = "tpu"
  process_index: int = 0
  core_on_chip: int = 0
  slice_index: int = 0


@pytest.mark.parametrize("kind", ("TPU v5 lite", "TPU v6 lite"))
def test_half_of_a_slice_holds_the_state(kind):
  """2 x 32 of a torus of 8 x 8 cuts one of its axes, on any generation."""
  chips = [Described(n, (n % 8, n // 8, 0), kind) for n in range(64)]
  sizes = config.Mesh(data=2, fsdp=-1, gather="step", cpu_devices=1)
  mesh = sharding.make_mesh(sizes, chips)
  assert dict(mesh.shape) == {"data": 2, "fsdp": 32}
  assert set(mesh.devices.flat) == set(chips)
