"""Every key and type of a configuration is checked, and named when wrong."""

import dataclasses
import json

import pytest

from configs import pretrain
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import ConfigError, flatten, to_dataclass

NAMES = ["resnet50", "vit_b", "vit_l", "vit_h", "tiny", "scenes"]


def values(name: str = "scenes") -> dict:
  return pretrain.get_config(name).to_dict()


@pytest.mark.parametrize("preset", ["paper", "grounded"])
@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_is_an_experiment(name, preset):
  config = pretrain.get_config(f"{name},preset={preset}").to_dict()
  experiment = to_dataclass(config, Experiment)
  assert flatten(dataclasses.asdict(experiment)) == flatten(config)
  # JSON knows no tuples: what comes back is the same experiment.
  again = json.loads(json.dumps(dataclasses.asdict(experiment)))
  assert to_dataclass(again, Experiment) == experiment


def changed(key: str, value) -> dict:
  config = values()
  *sections, name = key.split(".")
  node = config
  for section in sections:
    node = node[section]
  node[name] = value
  return config


@pytest.mark.parametrize(
  "key, value, message",
  [
    (
      "batch_sizes",
      3,
      r"unknown .* key batch_sizes; did you mean batch_size\?",
    ),
    ("model.adaptor.gird", 3, r"unknown .* model.adaptor.gird; .*adaptor.grid"),
    ("zzz", 3, r"unknown configuration key zzz$"),
    ("batch_size", "8", r"batch_size is '8' \(str\); expected int"),
    ("batch_size", 8.0, r"batch_size is 8.0 \(float\); expected int"),
    ("batch_size", True, r"batch_size is True \(bool\); expected int"),
    ("optimizer.b1", False, r"optimizer.b1 is False \(bool\); expected float"),
    ("data.flip", 1, r"data.flip is 1 \(int\); expected bool"),
    ("data.dir", None, r"data.dir is None \(NoneType\); expected str"),
    ("data.mixture", (("a", "x"),), r"data.mixture\[0\] .* expected 3 values"),
    ("data", 3, r"data is 3 \(int\); expected a section"),
    ("data.crop_scale", 0.5, r"data.crop_scale is 0.5 .* expected a tuple"),
    ("data.crop_scale", (1, 1, 1), r"data.crop_scale .* expected 2 values"),
    ("evaluation.galleries", (1, "a"), r"galleries\[1\] is 'a' .* int"),
    ("total_steps", 0, r"total_steps is 0; expected at least 1"),
    ("evaluation.use_ema", True, r"evaluation.use_ema needs an EMA copy"),
    ("evaluation.score", "best", r"score is 'best'; .* itm, stage1, sum"),
    ("model.adaptor.words", "every", r"model.adaptor.words is 'every'; .* all"),
    ("objective.reg_regions", "all", r"reg_regions is 'all'; .* kept, slots"),
    ("model.word_map.enabled", False, r"first_stage is 'itc\+phrase'; .* itc$"),
    ("evaluation.galleries", (), r"galleries: expected numbers"),
    (
      "model.adaptor.size",
      "extent",
      r"size is 'extent'; .* scale, soft_extent",
    ),
    ("model.adaptor.refine", "sum", r"refine is 'sum'; .* add, overwrite"),
    ("model.adaptor.assignment", "all", r"assignment is 'all'; .* best, every"),
    ("model.word_map.affinity", "color", r"affinity is 'color'; .* appearance"),
    ("model.adaptor.window_units", ("px",) * 3, r"units has \['px'\]; .* box"),
    ("model.adaptor.levels", 4, r"windows is \(.*one for each .*levels=4"),
    ("model.pyramid.scales", (1,), r"pyramid.scales is \(1,\); .*levels=3"),
    ("optimizer.ema_decay", 1.0, r"ema_decay is 1.0; expected 0 <= d < 1"),
  ],
)
def test_what_is_wrong_is_named(key, value, message):
  with pytest.raises(ConfigError, match=message):
    to_dataclass(changed(key, value), Experiment)


@pytest.mark.parametrize(
  "key", ["model.adaptor.words", "model.heads.evidence", "objective.saliency"]
)
def test_what_needs_a_word_map_says_so(key):
  config = changed("model.word_map.enabled", False)
  config["evaluation"]["first_stage"] = "itc"
  given = {
    "model.adaptor.words": ("model", "adaptor", "words", "tokens"),
    "model.heads.evidence": ("model", "heads", "evidence", False),
    "objective.saliency": ("objective", "saliency", 0.0),
  }
  for other, (*sections, name, value) in given.items():
    node = config
    for section in sections:
      node = node[section]
    node[name] = node[name] if other == key else value
  with pytest.raises(ConfigError, match=rf"{key} is .* needs model.word_map"):
    to_dataclass(config, Experiment)


def test_missing_key_is_named():
  config = values()
  del config["model"]["filter"]["top"]
  with pytest.raises(ConfigError, match=r"lacks the key model.filter.top"):
    to_dataclass(config, Experiment)


def test_whole_numbers_are_floats_and_lists_are_tuples():
  experiment = to_dataclass(changed("optimizer.eps", 1), Experiment)
  assert isinstance(experiment.optimizer.eps, float)
  experiment = to_dataclass(changed("data.crop_scale", [1, 1]), Experiment)
  assert experiment.data.crop_scale == (1.0, 1.0)


def test_alternatives():
  @dataclasses.dataclass
  class Optional:
    value: int | None

  assert to_dataclass({"value": None}, Optional).value is None
  assert to_dataclass({"value": 3}, Optional).value == 3
  with pytest.raises(ConfigError, match=r"value is 'x' .* int or NoneType"):
    to_dataclass({"value": "x"}, Optional)
