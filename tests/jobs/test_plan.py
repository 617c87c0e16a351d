"""Parameters and FLOPs by part, against the paper's totals and by hand."""

import json
import sys

import pytest
from absl.testing import flagsaver

from slan_jax.jobs import plan
from slan_jax.models.config import Backbone

# ml_collections loads configuration files by a deprecated function.
ml_collections_warns = pytest.mark.filterwarnings("ignore:the load_module")


def leave(monkeypatch, *arguments: str) -> int:
  """Exit code of the command."""
  monkeypatch.setattr(sys, "argv", ["slan-plan", *arguments])
  with flagsaver.flagsaver(), pytest.raises(SystemExit) as stop:
    plan.main()
  return stop.value.code


def test_side_is_a_multiple_of_the_stride():
  sides = {
    name: plan.choose_side(None, Backbone(name, "default"))
    for name in ("resnet50", "vit_b", "vit_h")
  }
  assert sides == {"resnet50": 384, "vit_b": 384, "vit_h": 378}
  assert plan.choose_side(224, Backbone("vit_h", "default")) == 224
  with pytest.raises(ValueError, match=r"=225 .* stride of vit_h.* 224 or 238"):
    plan.choose_side(225, Backbone("vit_h", "default"))


@ml_collections_warns
def test_flops_of_resnet50_by_hand(tmp_path, monkeypatch, capsys):
  path = tmp_path / "plan.json"
  arguments = ["--params", "--config=configs/pretrain.py:resnet50"]
  assert leave(monkeypatch, *arguments, f"--output={path}") == 0
  found = json.loads(path.read_text())
  flops, width, cells = found["forward_flops"], 768, 12 * 12
  # V's 1x1, then two 3x3 convolutions at strides 16, 8 and 4.
  pyramid = cells * 2048 * width
  pyramid += 2 * 9 * width**2 * (24**2 + 48**2 + 96**2)
  assert flops["pyramid"] == 2 * pyramid
  # Twelve layers: four projections, the feed-forward block, two products.
  words, hidden = 32, 3072
  layer = 4 * width**2 + 2 * width * hidden + 2 * words * width
  assert flops["bert"] == 2 * 12 * words * layer
  # 4.1 G multiply-adds at 224 px are the published figure.
  assert flops["encoder"] == pytest.approx(2 * 4.09e9 * (384 / 224) ** 2, 0.01)
  assert abs(found["total_parameters"] / 1e6 - 322) < 0.5
  assert found["parameters"]["bert"] == 108_891_648  # without its pooler
  assert found["total_forward_flops"] == sum(flops.values())
  assert "2 per multiply-add" in " ".join(capsys.readouterr().out.split())


@ml_collections_warns
@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "nothing to plan: say --params"),
    (["--params", "--image_size=385"], "for example 384 or 400"),
    (["--params", "--config.data.dir=nowhere"], "holds no tokenizer"),
  ],
)
def test_bad_usage(arguments, message, monkeypatch, capsys):
  config = "--config=configs/pretrain.py:vit_b"
  assert leave(monkeypatch, config, *arguments) == 2
  assert message in capsys.readouterr().err


TINY = (
  "--config=configs/pretrain.py:tiny,preset=paper",
  "--config.data.dir=",
  "--config.batch_size=8",
  "--config.model.image_size=32",
  "--config.mesh.fsdp=2",
  "--config.model.backbone.name=vit_tiny",
  "--config.model.adaptor.levels=1",
  "--config.model.pyramid.scales=(1,)",
)


@ml_collections_warns
def test_the_training_step_on_fake_devices(tmp_path, monkeypatch, capsys):
  path = tmp_path / "plan.json"
  assert leave(monkeypatch, *TINY, "--topology=cpu:4", f"--output={path}") == 0
  plan = json.loads(path.read_text())
  assert plan["fits"] and plan["hbm_limit_bytes"] is None
  assert plan["mesh"] == {"data": 2, "fsdp": 2}
  assert plan["total_parameters"] == sum(plan["parameters"].values())
  held = plan["hbm_bytes_by_kind"]
  # The tables of 30,522 words are most of it, and split in two.
  whole = 4 * plan["total_parameters"]
  assert whole / 2 < held["parameters"] < 0.6 * whole
  assert held["optimiser"] == pytest.approx(2 * held["parameters"], rel=0.01)
  assert held["ema"] == 0
  # What is computed twice is hardware's, and little: remat is off.
  done = plan["hardware_flops_per_step"] / plan["model_flops_per_step"]
  assert 0.95 < done < 1.3
  assert plan["collective_bytes_per_chip"] > 0
  assert plan["step_seconds"] is None and plan["chip_hours"] is None
  assert "no table has this device" in capsys.readouterr().out


@ml_collections_warns
def test_the_programs_of_an_evaluation(tmp_path, monkeypatch):
  path = tmp_path / "plan.json"
  arguments = (
    "--topology=cpu:2",
    "--task=grounding",
    f"--output={path}",
    "--config.evaluation.batch_size=8",
    "--config.evaluation.pair_batch_size=8",
  )
  assert leave(monkeypatch, *TINY, *arguments) == 0
  plan = json.loads(path.read_text())
  assert plan["task"] == "grounding" and plan["fits"]
  assert list(plan["programs"]) == ["encode_image", "ground"]
  assert plan["programs"]["encode_image"]["examples"] == 8
  assert all(p["model_flops_per_step"] > 0 for p in plan["programs"].values())


@ml_collections_warns
def test_what_does_not_fit_ends_with_3(monkeypatch, capsys):
  found = {"fits": False, "complaint": "too much"}
  monkeypatch.setattr(plan, "plan_slice", lambda *_, **__: found)
  assert leave(monkeypatch, *TINY, "--topology=cpu:2") == 3
