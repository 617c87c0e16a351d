"""The JAX model and its twin in PyTorch give the same numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from configs import pretrain
from slan_jax.interop import exported, verify
from slan_jax.jobs.typed import to_dataclass
from slan_jax.models import config, pyramid, resnet, vit
from slan_jax.models.slan import Slan
from slan_jax.tasks import grounding, retrieval
from slan_jax.tasks.config import Localisation
from slan_torch import SLANModel, neighbours
from slan_torch import pyramid as torch_pyramid
from slan_torch import vit as torch_vit
from slan_torch.config import read_config
from slan_torch.resnet import ResNet
from tests.models.shapes import filled
from tests.slan_torch import pair

RELATIVE = 1e-4  # of the largest value of an output
PIXELS = 0.05  # of a box, in an image of 224 pixels
PRESETS = ("scenes", "scenes,preset=paper")
BACKBONES = ("resnet_tiny", "vit_tiny")
# Switches that neither preset sets, spread over two more models.
OTHER = (
  ("scenes,preset=paper", {
    "model__backbone__name": "resnet_tiny8",
    "model__adaptor__fusion": "bi_mha",
    "model__adaptor__similarity": "raw",
    "model__adaptor__swap_axes": True,
    "model__adaptor__pitch": "window",
    "model__adaptor__window_units": ("box", "image", "box"),
    "model__adaptor__order": "embed_first",
    "model__adaptor__refine": "add",
    "model__adaptor__words": "all",
    "model__adaptor__clip_boxes": False,
    "model__heads__matching_regions": "filtered",
    "model__filter__normalise": "softmax",
    "model__filter__threshold": 0.99,
    "model__detector__reference": "grid",
    "model__pyramid__source": "encoder",
    "model__word_map__read_sharpness": 10.0,  # of no map: nothing is read
  }),
  ("scenes", {
    "model__backbone__norm": "group",
    "model__adaptor__assignment": "best",
    "model__adaptor__size": "scale",
    "model__adaptor__similarity": "softmax",
    "model__filter__normalise": "minmax",
    "model__word_map__affinity": "appearance",
    "model__word_map__peak_sharpness": 0.0,
    "model__word_map__read_sharpness": 0.0,
    "model__pyramid__source": "decoder",
    "model__pyramid__scales": (1, 2, 3),
  }),
)  # fmt: skip
# All proposals, more than pre-training keeps.
TUNED = Localisation(
  top=0, threshold=0.0, temperature=0.1, nothing=0.3, fit=True,
  cost_tokens=1.0, cost_l1=1.0, cost_giou=1.0, tokens=1.0, l1=1.0, giou=1.0,
  nothing_weight=0.1, auxiliary=1.0,
)  # fmt: skip
CASES = [
  (preset, {"model__backbone__name": name})
  for preset in PRESETS
  for name in BACKBONES
]


@pytest.mark.parametrize(("argument", "overrides"), (*CASES, *OTHER))
def test_every_output_agrees(argument, overrides):
  cfg = pair.config(argument, **overrides)
  tree = pair.params(cfg)
  ours = pair.run_jax(cfg, tree)
  theirs = pair.run_torch(pair.torch_model(cfg, tree))
  gaps = verify.differences(ours, theirs)
  assert max(gaps.values()) <= RELATIVE, gaps
  boxes = ours["boxes"]
  assert np.abs(boxes - theirs["boxes"]).max() * 224 <= PIXELS
  # Regions move and texts matter, or agreement would prove nothing.
  assert np.ptp(boxes[:, -1] - boxes[:, 0]) > 1e-3
  assert np.ptp(ours["itm_logits"][:, 1] - ours["itm_logits"][:, 0]) > 1e-3


@pytest.mark.parametrize(
  ("name", "shallow"),
  [
    ("resnet50", {"depths": (1, 1, 1, 1)}),
    ("vit_h", {"layers": 2, "middle_layer": 1, "width": 320, "mlp_width": 640}),
  ],
)
def test_every_output_agrees_at_224_pixels(name, shallow, monkeypatch):
  """The paper's families with their patches and strides, but few layers."""
  row = dataclasses.replace(config.BACKBONES[name], **shallow)
  monkeypatch.setitem(config.BACKBONES, name, row)
  cfg = pair.config(
    name, model__image_size=224, model__compute_dtype="float32",
    model__adaptor__levels=1,
  )  # fmt: skip
  tree = pair.params(cfg)
  inputs = verify.sample_inputs(cfg, pair.LENGTH, pair.TOKENS, rows=1)
  ours = verify.outputs_of_jax(Slan(cfg), tree, *inputs)
  theirs = verify.outputs_of_torch(pair.torch_model(cfg, tree), *inputs)
  gaps = verify.differences(ours, theirs)
  assert max(gaps.values()) <= RELATIVE, gaps
  for boxes in ("proposals", "boxes"):
    assert np.abs(ours[boxes] - theirs[boxes]).max() * 224 <= PIXELS
  assert np.ptp(ours["boxes"][:, -1] - ours["boxes"][:, 0]) > 1e-3


@pytest.mark.parametrize("boxes", (False, True))
@pytest.mark.parametrize("argument", PRESETS)
def test_grounding_agrees(argument, boxes):
  """Scores of regions for words, also as learned from the boxes of phrases."""
  cfg = pair.config(argument, model__adaptor__levels=2)
  tree, model = pair.params(cfg), Slan(cfg)
  predict = retrieval.predictions(model) | grounding.predictions(model)
  detection = {}
  if boxes:
    head = {"temperature": 0.2, "nothing": 0.4}
    tree |= {"localisation": {k: np.float32(v) for k, v in head.items()}}
    predict = grounding.make_task(
      cfg, TUNED, batch_size=1, microbatches=1, max_length=1, phrases=1, boxes=1
    ).predict
    detection = {"top": TUNED.top, "threshold": TUNED.threshold, "fit": True}
    detection |= {"learned": True, "phrases": True}
  inputs = pair.inputs(cfg)

  @jax.jit
  def run(params, images, *text):
    return predict["ground"](
      params, predict["encode_image"](params, images), *text
    )

  ours = run(tree, *inputs)
  model = pair.torch_model(cfg, tree, detection=detection)
  with torch.no_grad():
    theirs = model.ground(*map(torch.tensor, inputs))
  assert set(ours) == set(theirs)
  assert np.ptp(np.asarray(ours["scores"])[:, -1]) > 1e-3
  for name, mine in ours.items():
    scale = float(np.abs(mine).max())
    np.testing.assert_allclose(
      mine, theirs[name], rtol=0, atol=RELATIVE * scale, err_msg=name
    )


@pytest.mark.parametrize("name", sorted(pretrain.FULL))
@pytest.mark.parametrize("preset", ("paper", "grounded"))
def test_full_sizes_have_the_same_names_and_shapes(name, preset):
  """The paper's four backbones, without any of their numbers."""
  made = pretrain.get_config(f"{name},preset={preset}").to_dict()["model"]
  made["text"]["vocab_size"] = 30_522
  cfg = to_dataclass(made, config.Slan)
  template = exported.params_template(cfg, pair.LEARNED)
  ours = exported.shapes(template)
  with torch.device("meta"):
    model = SLANModel(read_config(pair.values(cfg), "memory"))
  theirs = {k: tuple(v.shape) for k, v in model.state_dict().items()}
  assert ours == theirs
  count = sum(int(np.prod(shape)) for shape in ours.values())
  assert count == sum(leaf.size for leaf in jax.tree.leaves(template))


@pytest.mark.parametrize("norm", ("group", "layer", "frozen_batch"))
def test_bottlenecks_and_the_imagenet_stem(norm):
  row = config.ResNetRow("imagenet", 8, "bottleneck", (16, 32), (2, 1), 1, norm)
  values = {"kind": "resnet", **row.__dict__}
  model = ResNet(type("Row", (), values))
  images = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
  images = images.astype(np.float32)
  module = resnet.ResNet(row, jnp.float32)
  variables = filled(module, images)
  state = {}
  flat = jax.tree_util.tree_leaves_with_path(variables["params"])
  leaf_names = {
    "kernel": "weight", "scale": "weight", "mean": "running_mean",
    "var": "running_var",
  }  # fmt: skip
  for path, leaf in flat:
    *parts, last = (key.key for key in path)
    leaf = leaf.transpose(3, 2, 0, 1) if last == "kernel" else leaf
    name = ".".join([*parts, leaf_names.get(last, last)])
    state[name] = torch.tensor(leaf)
  model.load_state_dict(state)
  ours = jax.jit(module.apply)(variables, images)
  with torch.no_grad():
    theirs = model(torch.from_numpy(images).permute(0, 3, 1, 2))
  assert set(ours) == set(theirs) == {2, 4, 8}
  for stride, mine in ours.items():
    np.testing.assert_allclose(mine, theirs[stride], rtol=0, atol=1e-4)


def test_position_tables_of_another_image_size():
  table = np.random.default_rng(0).normal(size=(17, 6)).astype(np.float32)
  for side in (2, 4, 7):
    ours = vit.resize_positions(jnp.asarray(table), side)
    theirs = torch_vit.resize_positions(torch.from_numpy(table), side)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", (3, 5, 7, 10))
def test_maps_of_another_side(side):
  x = np.random.default_rng(0).normal(size=(1, 5, 5, 2)).astype(np.float32)
  ours = pyramid.resize(jnp.asarray(x), side)
  theirs = torch_pyramid.resize(torch.from_numpy(x), side)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_an_even_grid_is_refused():
  with pytest.raises(ValueError, match="odd"):
    neighbours.ranks(4, torch.device("cpu"))
