"""Parameters out to slan_torch's file, trained on there, and back again."""

import json
import shutil

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from slan_jax.interop import export, exported
from slan_jax.interop.problems import LoadError
from slan_torch import SLANModel
from tests.slan_torch import pair


def trained(cfg, tree) -> export.Trained:
  return export.Trained(
    cfg, tree, "{}", pair.TOKENS, 8, False, "a card", {"seed": 0}, {"slope": 2}
  )


@pytest.fixture(scope="module")
def cfg():
  return pair.config("scenes")


@pytest.fixture(scope="module")
def tree(cfg):
  return pair.params(cfg)


@pytest.fixture(scope="module")
def directory(cfg, tree, tmp_path_factory):
  out = tmp_path_factory.mktemp("export")
  export.write_companions(out, trained(cfg, tree), "float32")
  export.write_weights(out, trained(cfg, tree), "float32")
  return out


def template(cfg):
  return exported.params_template(cfg, pair.LEARNED)


def test_out_and_in_again_bit_for_bit(cfg, tree, directory):
  again = exported.load_export(directory, template(cfg))
  jax.tree.map(np.testing.assert_array_equal, tree, again)
  assert jax.tree.map(np.shape, tree) == jax.tree.map(np.shape, again)
  config = exported.read_config(directory)
  assert config["learned"] == sorted(pair.LEARNED)


def test_a_model_tuned_in_torch_comes_back(cfg, tree, directory, tmp_path):
  """Every value of the torch model, bit for bit, under its own path."""
  model = SLANModel.from_pretrained(directory)
  images, ids, mask = (torch.tensor(x) for x in pair.inputs(cfg))
  optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
  found = model(images, ids, mask)
  sum(x.float().square().mean() for x in found.values()).backward()
  optimizer.step()
  model.save_pretrained(tmp_path / "tuned")
  back = exported.load_export(tmp_path / "tuned", template(cfg))
  values = exported.to_tensors(back, "float32")
  for name, value in model.state_dict().items():
    np.testing.assert_array_equal(values[name], value.numpy(), name)
  moved = (
    back["slan"]["matching"]["kernel"] != tree["slan"]["matching"]["kernel"]
  )
  assert moved.any()
  # And the model that was saved is the one that torch reads, without the
  # card and the calibration of another.
  for name in ("README.md", "calibration.json"):
    assert (directory / name).exists()
    assert not (tmp_path / "tuned" / name).exists()
  with pytest.raises(FileExistsError, match="force"):
    model.save_pretrained(tmp_path / "tuned")
  model.save_pretrained(tmp_path / "tuned", force=True)
  with pytest.raises(FileExistsError, match="nothing else"):
    model.save_pretrained(tmp_path, force=True)
  again = SLANModel.from_pretrained(tmp_path / "tuned")
  with torch.no_grad():
    torch.testing.assert_close(
      again(images, ids, mask), model(images, ids, mask)
    )


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_half_precision_keeps_its_digits(cfg, tree, tmp_path, dtype, bits):
  export.write_companions(tmp_path, trained(cfg, tree), dtype)
  export.write_weights(tmp_path, trained(cfg, tree), dtype)
  again = exported.load_export(tmp_path, template(cfg))
  for mine, other in zip(jax.tree.leaves(tree), jax.tree.leaves(again)):
    assert other.dtype == np.float32
    np.testing.assert_allclose(other, mine, rtol=2.0**-bits, atol=1e-6)
  model = SLANModel.from_pretrained(tmp_path)
  assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_what_does_not_fit_into_a_type_is_an_error(tree):
  huge = {"slan": {"image_projection": {"bias": np.full(4, 1e30, "f")}}}
  with pytest.raises(ValueError, match=r"image_projection\.bias .* --dtype"):
    exported.to_tensors(huge | {"objective": {}}, "float16")


def test_a_model_from_nowhere_has_no_files_to_save(cfg, tree, tmp_path):
  with pytest.raises(ValueError, match="from_pretrained"):
    pair.torch_model(cfg, tree).save_pretrained(tmp_path / "out")
  assert not list(tmp_path.iterdir())


def damaged(directory, tmp_path, change):
  out = tmp_path / "damaged"
  shutil.copytree(directory, out)
  tensors = load_file(out / "model.safetensors")
  change(tensors)
  save_file(tensors, out / "model.safetensors")
  return out


def test_missing_and_unknown_tensors_are_named(cfg, directory, tmp_path):
  def change(tensors):
    tensors["odd"] = tensors.pop("matching.bias")

  out = damaged(directory, tmp_path, change)
  with pytest.raises(LoadError, match=r"matching\.bias(?s:.)*odd"):
    exported.load_export(out, template(cfg))
  with pytest.raises(ValueError, match=r"missing: matching\.bias.*odd"):
    SLANModel.from_pretrained(out)


def test_wrong_shapes_and_infinite_values_are_named(cfg, directory, tmp_path):
  def change(tensors):
    tensors["matching.bias"] = np.zeros(3, np.float32)
    tensors["matching.weight"] = np.full_like(
      tensors["matching.weight"], np.nan
    )

  out = damaged(directory, tmp_path, change)
  with pytest.raises(ValueError, match=r"matching\.bias \(3,\)(?s:.)*finite"):
    SLANModel.from_pretrained(out)
  with pytest.raises(LoadError, match=r"matching\.bias(?s:.)*matching\.weight"):
    exported.load_export(out, template(cfg))


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("model_type", "bert", "model_type"),
    ("slan_format", 2, "slan_format is 2"),
  ],
)
def test_configurations_of_others_are_refused(
  directory, tmp_path, key, value, message
):
  values = json.loads((directory / "config.json").read_text())
  (tmp_path / "config.json").write_text(json.dumps(values | {key: value}))
  with pytest.raises(LoadError, match=message):
    exported.read_config(tmp_path)
  with pytest.raises(ValueError, match=message):
    SLANModel.from_pretrained(tmp_path)


def test_no_directory_at_all(tmp_path):
  with pytest.raises(LoadError, match=r"config\.json"):
    exported.read_config(tmp_path / "nothing")
