"""config.json: every key known, every other version refused."""

import pytest

from slan_torch import ExportError
from slan_torch.config import read_config
from tests.slan_torch import pair

NAMES = ("resnet_tiny", "vit_tiny")


def given(name="resnet_tiny"):
  return pair.values(pair.config("scenes", model__backbone__name=name))


@pytest.mark.parametrize("name", NAMES)
def test_it_knows_every_key_of_the_model(name):
  """A key that the JAX model gains has to be spoken about here."""
  config = read_config(given(name), "memory")
  assert config.model.adaptor.window_units[0] == "image"
  assert config.backbone.kind in name


def change(values, path, value):
  *parents, last = path.split(".")
  for key in parents:
    values = values[key]
  if value is None:
    del values[last]
  else:
    values[last] = value


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("model_type", "vit", "slan-export"),
    ("slan_format", 0, "slan_format is 0"),
    ("max_length", None, "max_length"),
    ("token_ids.pad", None, "pad"),
    ("model.width", None, "width"),
    ("model.adaptor.grid", None, "model.adaptor.*grid"),
    ("model.adaptor.new", 1, "unknown.*new"),
    ("model.text", 3, "model.text is no JSON object"),
    ("backbone.kind", "mlp", "backbone.kind is 'mlp'"),
    ("backbone.widths", None, "widths"),
  ],
)
def test_other_versions_are_refused(path, value, message):
  values = given()
  change(values, path, value)
  with pytest.raises(ExportError, match=message):
    read_config(values, "config.json")


def test_what_is_no_object_is_refused():
  with pytest.raises(ExportError, match="slan-export"):
    read_config([], "config.json")
