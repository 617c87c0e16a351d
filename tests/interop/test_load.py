"""Files that must be read, and files that must be refused with a reason."""

import json
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch

from slan_jax.interop import convert, load, names
from slan_jax.interop.load import LoadError
from tests.interop.test_names import filled

PARAMS = filled("bert")
TENSORS = convert.to_torch(names.KINDS["bert"], PARAMS)


def same(params) -> bool:
  pairs = zip(
    convert.flatten(params).values(), convert.flatten(PARAMS).values()
  )
  return all(np.array_equal(a, b) for a, b in pairs)


def hub(folder: Path, tensors=None, **config) -> Path:
  """A directory as the hub lays it out."""
  config = {"model_type": "bert", "hidden_act": "gelu"} | config
  (folder / "config.json").write_text(json.dumps(config))
  tensors = TENSORS if tensors is None else tensors
  safetensors.numpy.save_file(tensors, folder / "model.safetensors")
  return folder


def test_directory_and_file(tmp_path: Path):
  path = hub(tmp_path)
  assert same(load.load(path, "bert", PARAMS))
  assert same(load.load(str(path / "model.safetensors"), "bert", PARAMS))


def test_prefixes_heads_and_integers_are_passed_over(tmp_path: Path):
  """A task model's file: "bert." before the names, its own head beside."""
  tensors = {f"bert.{name}": array for name, array in TENSORS.items()}
  tensors["bert.embeddings.position_ids"] = np.arange(6)
  tensors["bert.pooler.dense.weight"] = np.zeros((16, 16), np.float32)
  tensors["classifier.weight"] = np.zeros((2, 16), np.float32)
  assert same(load.load(hub(tmp_path, tensors), "bert", PARAMS))


def test_files_in_parts(tmp_path: Path):
  """A large model's directory: an index and several files."""
  cut = len(TENSORS) // 2
  items = list(TENSORS.items())
  index = {}
  for part, some in (("a", items[:cut]), ("b", items[cut:])):
    name = f"{part}.safetensors"
    safetensors.numpy.save_file(dict(some), tmp_path / name)
    index |= {key: name for key, _ in some}
  text = json.dumps({"weight_map": index})
  (tmp_path / "model.safetensors.index.json").write_text(text)
  assert same(load.load(tmp_path, "bert", PARAMS))
  (tmp_path / "b.safetensors").unlink()
  with pytest.raises(LoadError, match=r"b\.safetensors"):
    load.load(tmp_path, "bert", PARAMS)


@pytest.mark.parametrize("inner", [None, "model", "state_dict"])
def test_torch_state_dict(tmp_path: Path, inner: str | None):
  state = {name: torch.tensor(array) for name, array in TENSORS.items()}
  torch.save({inner: state} if inner else state, tmp_path / "weights.pth")
  assert same(load.load(tmp_path / "weights.pth", "bert", PARAMS))


def test_bfloat16_file(tmp_path: Path):
  """Written by torch, which has the type; read without torch."""
  import safetensors.torch

  state = {name: torch.tensor(a).bfloat16() for name, a in TENSORS.items()}
  safetensors.torch.save_file(state, tmp_path / "half.safetensors")
  params = load.load(tmp_path / "half.safetensors", "bert", PARAMS)
  ours = params["embeddings"]["word"]
  assert ours.dtype == np.float32
  expected = PARAMS["embeddings"]["word"].astype(ml_dtypes.bfloat16)
  np.testing.assert_array_equal(ours, expected.astype(np.float32))


def test_all_faults_are_listed_with_both_shapes(tmp_path: Path):
  """Strict: one message names what is missing, unexpected, misshaped, NaN."""
  tensors = dict(TENSORS)
  del tensors["encoder.layer.1.output.dense.bias"]
  tensors["encoder.layer.2.output.dense.bias"] = np.zeros(16, np.float32)
  tensors["embeddings.word_embeddings.weight"] = np.zeros((30, 16), np.float32)
  tensors["embeddings.LayerNorm.bias"] = np.full(16, np.nan, np.float32)
  with pytest.raises(LoadError) as error:
    load.load(hub(tmp_path, tensors), "bert", PARAMS)
  lines = [line.strip() for line in str(error.value).splitlines()]
  assert str(tmp_path) in lines[0]
  expected = [
    ("missing (1):", "encoder.layer.1.output.dense.bias"),
    ("unexpected (1):", "encoder.layer.2.output.dense.bias"),
    (
      "misshaped (1):",
      "embeddings.word_embeddings.weight: file (30, 16), model (11, 16)",
    ),
    ("not finite (1):", "embeddings.LayerNorm.bias"),
  ]
  for title, item in expected:
    assert lines[lines.index(title) + 1] == item
  assert "vocabular" in lines[-1]


def test_long_lists_are_cut(tmp_path: Path):
  some = dict(list(TENSORS.items())[:1])
  with pytest.raises(LoadError, match=r"\.\.\. and \d+ more"):
    load.load(hub(tmp_path, some), "bert", PARAMS)


@pytest.mark.parametrize(
  ("config", "reason"),
  [
    ({"model_type": "roberta"}, "model_type 'roberta', expected bert"),
    ({"hidden_act": "relu"}, "hidden_act='relu'"),
    ({"num_attention_heads": 8}, "num_attention_heads=8, the model has 2"),
  ],
)
def test_config_that_shapes_would_not_betray(tmp_path, config, reason):
  with pytest.raises(LoadError, match=reason):
    load.load(hub(tmp_path, **config), "bert", PARAMS, heads=2)


def test_other_architecture(tmp_path: Path):
  path = hub(tmp_path)
  with pytest.raises(LoadError, match="no array has a name of this arch"):
    load.load(path / "model.safetensors", "detr", filled("detr"))


def test_position_table_of_another_size(tmp_path: Path):
  """Refused with a hint, unless resizing is asked for."""
  params = filled("vit")
  tensors = convert.to_torch(names.KINDS["vit"], params)
  tensors["embeddings.position_embeddings"] = np.ones((1, 26, 16), np.float32)
  safetensors.numpy.save_file(tensors, tmp_path / "vit.safetensors")
  path = tmp_path / "vit.safetensors"
  with pytest.raises(LoadError, match="ask for resizing"):
    load.load(path, "vit", params)
  loaded = load.load(path, "vit", params, resize_positions=True)
  np.testing.assert_allclose(loaded["position"], np.ones((17, 16)), rtol=1e-6)


def test_batch_norm_file_for_a_group_norm_model(tmp_path: Path):
  params = filled("resnet")
  path = tmp_path / "resnet.safetensors"
  tensors = convert.to_torch(names.KINDS["resnet"], params, dialect="timm")
  safetensors.numpy.save_file(tensors, path)
  del params["stem"]["norm"]["mean"], params["stem"]["norm"]["var"]
  with pytest.raises(LoadError, match="norm=frozen_batch"):
    load.load(path, "resnet", params)


def test_backbone_inside_a_file_of_detr(tmp_path: Path):
  """The original checkpoint holds backbone, transformer and heads."""
  params = filled("resnet")
  body = convert.to_torch(names.KINDS["resnet"], params, dialect="timm")
  head = filled("detr")
  both = convert.to_torch(names.KINDS["detr"], head, dialect="original")
  both |= {f"backbone.0.body.{name}": array for name, array in body.items()}
  both |= {"class_embed.bias": np.zeros(92, np.float32)}
  path = tmp_path / "detr.safetensors"
  safetensors.numpy.save_file(both, path)
  loaded = load.load(path, "resnet", params)
  np.testing.assert_array_equal(
    loaded["stem"]["norm"]["var"], body["bn1.running_var"]
  )
  assert load.load(path, "detr", head)["saliency"] == head["saliency"]


class Payload:
  """Would create a file if unpickled."""

  def __init__(self, path: Path):
    self.path = path

  def __reduce__(self):
    return (Path.touch, (self.path,))


def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path):
  trap = tmp_path / "ran"
  torch.save({"x": Payload(trap)}, tmp_path / "evil.pt")
  (tmp_path / "raw.bin").write_bytes(pickle.dumps(Payload(trap)))
  for name in ("evil.pt", "raw.bin"):
    with pytest.raises(LoadError, match="could run code"):
      load.load(tmp_path / name, "bert", PARAMS)
  assert not trap.exists()


@pytest.mark.parametrize("keep", [0, 5, 100, -10])
def test_truncated_files(tmp_path: Path, keep: int):
  path = hub(tmp_path) / "model.safetensors"
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(LoadError, match="damaged or truncated"):
    load.load(tmp_path, "bert", PARAMS)
  torch.save({"x": torch.zeros(100)}, tmp_path / "x.pt")
  whole = (tmp_path / "x.pt").read_bytes()
  (tmp_path / "x.pt").write_bytes(whole[:keep])
  with pytest.raises(LoadError, match=r"damaged|refused"):
    load.load(tmp_path / "x.pt", "bert", PARAMS)


def test_nothing_there(tmp_path: Path):
  with pytest.raises(LoadError, match="no such file"):
    load.load(tmp_path / "nowhere", "bert", PARAMS)
  with pytest.raises(LoadError, match=r"holds none of model\.safetensors"):
    load.load(tmp_path, "bert", PARAMS)
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(LoadError, match="not readable as JSON"):
    load.load(tmp_path, "bert", PARAMS)
