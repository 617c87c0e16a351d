"""Files of weights written piece by piece, read by the library."""

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from slan_jax.interop import exported
from slan_jax.interop.tensor_file import write_tensors

SHAPES = {"b": (2, 3), "a": (), "c": (4,)}


def arrays(dtype=np.float32):
  rng = np.random.default_rng(0)
  return {k: np.asarray(rng.normal(size=v), dtype) for k, v in SHAPES.items()}


@pytest.mark.parametrize("dtype", ("float32", "bfloat16", "float16"))
def test_what_the_library_reads(tmp_path, dtype):
  path = tmp_path / "model.safetensors"
  given = arrays(exported.DTYPES[dtype])
  given["b"] = np.asfortranarray(given["b"])
  pieces = ({"c": given["c"]}, {"a": given["a"], "b": given["b"]})
  write_tensors(path, SHAPES, dtype, pieces)
  found = load_torch(path)
  assert set(found) == set(SHAPES)
  for name, value in found.items():
    assert value.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(
      value.float().numpy(), given[name].astype(np.float32)
    )
  assert load_file(path)["a"].shape == ()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"c": np.zeros(3, np.float32)}, "no place"),
    ({"d": np.zeros(3, np.float32)}, "no place"),
    ({"c": np.zeros(4, ml_dtypes.bfloat16)}, "not float32"),
    ({}, "no values for c"),
  ],
)
def test_what_does_not_belong(tmp_path, change, message):
  given = arrays()
  del given["c"]
  with pytest.raises(ValueError, match=message):
    write_tensors(tmp_path / "f", SHAPES, "float32", [given | change])


def test_parts_hold_every_leaf_once_and_no_more_than_asked():
  tree = {"x": {"a": np.zeros(4, "f"), "b": np.zeros(100, "f")}, "y": {}}
  tree["y"]["c"] = np.zeros(2, "f")
  parts = list(exported.parts(tree, 32))
  assert [list(part) for part in parts] == [["x"], ["x"], ["y"]]
  assert [list(part["x"]) for part in parts[:2]] == [["a"], ["b"]]
  assert len(list(exported.parts(tree, 10_000))) == 1
