"""Parameter counts and shapes of modules, without computing anything."""

import jax
import numpy as np


def parameters(module, *arguments, **options):
  """Tree of parameter shapes of a module for these inputs."""
  init = jax.eval_shape(module.init, jax.random.key(0), *arguments, **options)
  return init["params"]


def count(tree) -> int:
  """Numbers in a tree."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def millions(tree) -> float:
  """Numbers in a tree in millions, as the paper's budget prints them."""
  return round(count(tree) / 1e6, 3)


def filled(module, *arguments, seed: int = 0):
  """Variables with every array away from its start, without compiling."""
  rng = np.random.default_rng(seed)

  def fill(path, leaf) -> np.ndarray:
    noise = rng.normal(size=leaf.shape).astype("float32")
    name = path[-1].key
    if name == "kernel":
      inputs = np.prod(leaf.shape[-4:-1]) if leaf.ndim > 3 else leaf.shape[-2]
      return noise / np.float32(inputs**0.5)
    return (
      np.float32(1) + np.abs(noise) / 8
      if name in ("scale", "var")
      else noise / 8
    )

  tree = parameters(module, *arguments)
  return {"params": jax.tree_util.tree_map_with_path(fill, tree)}
