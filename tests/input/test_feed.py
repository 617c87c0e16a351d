import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from slan_jax.input.feed import global_batch, process_rows


def mesh(data, fsdp):
  types = (AxisType.Auto,) * 2
  return jax.make_mesh((data, fsdp), ("data", "fsdp"), axis_types=types)


def batch(rows):
  return {
    "image": np.arange(rows * 12, dtype=np.uint8).reshape(rows, 2, 2, 3),
    "text_mask": np.ones((rows, 5), bool),
    "index": np.arange(rows, dtype=np.int64) + 7,
  }


@pytest.mark.parametrize("shape", [(8, 1), (4, 2), (2, 4)])
def test_rows_are_split_over_both_axes(shape):
  rows = batch(16)
  arrays = global_batch(rows, mesh(*shape))
  for name, array in arrays.items():
    np.testing.assert_array_equal(array, rows[name])
    shards = sorted(array.addressable_shards, key=lambda s: s.index[0].start)
    assert [len(shard.data) for shard in shards] == [2] * 8
    np.testing.assert_array_equal(shards[3].data, rows[name][6:8])


def test_rows_follow_the_devices_whatever_their_order():
  order = np.random.default_rng(0).permutation(8)
  devices = np.array(jax.devices())[order].reshape(4, 2)
  shuffled = jax.sharding.Mesh(devices, ("data", "fsdp"))
  assert process_rows(16, shuffled) == tuple(range(16))
  array = global_batch(batch(16), shuffled)["index"]
  np.testing.assert_array_equal(array, np.arange(16) + 7)
  places = {s.device: s.index[0].start for s in array.addressable_shards}
  assert [places[d] for d in devices.flat] == list(range(0, 16, 2))


def test_long_integers_become_int32_and_others_keep_their_type():
  arrays = global_batch(batch(8), mesh(8, 1))
  types = {name: array.dtype.name for name, array in arrays.items()}
  assert types == {"image": "uint8", "text_mask": "bool", "index": "int32"}


def test_too_large_numbers_are_refused():
  rows = batch(8)
  rows["index"] += 2**31
  with pytest.raises(ValueError, match="'index'"):
    global_batch(rows, mesh(8, 1))


def test_a_batch_must_be_divisible():
  with pytest.raises(ValueError, match=r"12 rows.*8 devices"):
    global_batch(batch(12), mesh(4, 2))
