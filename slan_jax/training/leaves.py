"""A state as named arrays: what a checkpoint stores, sums up and finds again.

A leaf's name is its path, parts separated by "/": "opt_state/1/mu/text/kernel".
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

Tree = Any


def plain(tree: Tree) -> Tree:
  """Typed PRNG keys become the integers that a file can hold."""

  def data(leaf):
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
      raw = jax.eval_shape(jax.random.key_data, leaf)
      return jax.ShapeDtypeStruct(raw.shape, raw.dtype, sharding=leaf.sharding)
    return jax.random.key_data(leaf)

  return jax.tree.map(data, tree)


def _parts(path) -> list[str]:
  return [jax.tree_util.keystr((key,), simple=True) for key in path]


def flat(tree: Tree) -> dict[str, Any]:
  """Name -> leaf; whatever has a shape is a leaf."""
  leaves = jax.tree_util.tree_leaves_with_path(
    tree, is_leaf=lambda node: hasattr(node, "shape")
  )
  return {"/".join(_parts(path)): leaf for path, leaf in leaves}


def named(tree: Tree) -> dict[str, Any]:
  """Nested dictionary of a tree's leaves.

  Parts without a leaf vanish, and so do arrays without an element, which Orbax
  cannot write.
  """
  root: dict[str, Any] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    if not leaf.size:
      continue
    *parents, name = _parts(path)
    node = root
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return root


def lookup(root: Mapping[str, Any], like: Tree) -> Tree:
  """Puts named leaves back into the structure of `like`."""

  def find(path, leaf):
    if not leaf.size:
      return jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding)
    node: Any = root
    for part in _parts(path):
      node = node[part]
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      node = jax.random.wrap_key_data(node)
    return node

  return jax.tree_util.tree_map_with_path(find, like)


def checksums(named: Mapping[str, Any]) -> dict[str, int]:
  """Name -> sum of an array's bits, the same on every mesh.

  Args:
    named: nested dictionary of device arrays.

  Returns:
    "a/b/c" -> sum of the array's bytes read as words of up to 32 bits.
  """
  leaves = flat(named)
  sums = np.array([_sum_of_bits(leaf) for leaf in leaves.values()], np.uint64)
  if jax.process_count() > 1:
    # As two halves: without x64, jax would cut 64-bit words.
    halves = multihost_utils.process_allgather(sums.view(np.uint32))
    sums = np.asarray(halves).view(np.uint64).sum(axis=0, dtype=np.uint64)
  return {name: int(value) for name, value in zip(leaves, sums)}


def _sum_of_bits(array: jax.Array) -> int:
  total = 0
  for shard in array.addressable_shards:
    if shard.replica_id == 0:
      data = np.ascontiguousarray(shard.data)
      word = np.dtype(f"u{min(data.dtype.itemsize, 4)}")
      words = data.reshape(-1).view(word)
      total += int(words.sum(dtype=np.uint64))
  return total
