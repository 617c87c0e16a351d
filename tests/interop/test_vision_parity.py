"""Imported vision models and detectors against torch's modules."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from slan_jax.interop import convert, load, names
from slan_jax.models import config, detector, resnet, vit
from tests.interop import detr_reference
from tests.interop.parity import TOLERANCE, close, randomize, run, transformers
from tests.models.shapes import parameters

WIDTH = 32
VIT = config.VitRow(8, WIDTH, 3, 4, 48, 1)


def vit_model() -> transformers.ViTModel:
  settings = transformers.ViTConfig(
    hidden_size=WIDTH,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=48,
    image_size=32,
    patch_size=8,
    layer_norm_eps=1e-6,
  )
  return randomize(transformers.ViTModel(settings), 3)


def images(side: int, batch: int = 2) -> np.ndarray:
  rng = np.random.default_rng(2)
  return rng.normal(size=(batch, side, side, 3)).astype("float32")


def nchw(array: np.ndarray) -> torch.Tensor:
  return torch.tensor(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def test_vit(tmp_path: Path):
  """All patch tokens of the last layer, after the final norm."""
  model = vit_model()
  model.save_pretrained(tmp_path)
  pixels = images(32)
  module = vit.Vit(VIT, 32, jnp.float32, "none")
  params = load.load(tmp_path, "vit", parameters(module, pixels), heads=4)
  maps = run(module, params, pixels)
  theirs = model(nchw(pixels)).last_hidden_state[:, 1:]
  close(maps[8].reshape(2, 16, WIDTH), theirs)


@pytest.mark.parametrize("when", ["at loading", "in the model"])
def test_vit_at_another_size(tmp_path: Path, when: str):
  """The position table is resized as transformers does, on either way."""
  model = vit_model()
  torch.save(model.state_dict(), tmp_path / "vit.pt")  # transformers 5 names
  pixels = images(56)
  own_size = 56 if when == "at loading" else 32
  module = vit.Vit(VIT, own_size, jnp.float32, "none")
  params = load.load(
    tmp_path / "vit.pt",
    "vit",
    parameters(module, pixels),
    resize_positions=True,
  )
  maps = run(module, params, pixels)
  theirs = model(nchw(pixels), interpolate_pos_encoding=True)
  close(maps[8].reshape(2, 49, WIDTH), theirs.last_hidden_state[:, 1:])


RESNET = config.ResNetRow(
  "imagenet", 8, "bottleneck", (16, 32, 48), (2, 1, 2), 1, "frozen_batch"
)


def resnet_config() -> transformers.ResNetConfig:
  return transformers.ResNetConfig(
    embedding_size=8, hidden_sizes=[16, 32, 48], depths=[2, 1, 2]
  )


def test_resnet(tmp_path: Path):
  """Every stage's map, with batch-norm statistics imported."""
  model = randomize(transformers.ResNetModel(resnet_config()), 4)
  model.save_pretrained(tmp_path)
  pixels = images(64)
  module = resnet.ResNet(RESNET, jnp.float32)
  params = load.load(tmp_path, "resnet", parameters(module, pixels))
  maps = run(module, params, pixels)
  theirs = model(nchw(pixels), output_hidden_states=True).hidden_states
  assert sorted(maps) == [2, 4, 8, 16]
  for stride, states in zip((4, 8, 16), theirs[1:]):
    close(maps[stride].transpose(0, 3, 1, 2), states)


DETECTOR = config.Detector(2, 3, WIDTH, 4, 48, 6, "learned", 0.25)


def test_detr_with_its_backbone(tmp_path: Path):
  """DetrForObjectDetection: image in, states and boxes out."""
  settings = transformers.DetrConfig(
    backbone_config=transformers.ResNetConfig(
      **resnet_config().to_diff_dict() | {"out_features": ["stage3"]}
    ),
    num_queries=6,
    d_model=WIDTH,
    encoder_layers=2,
    decoder_layers=3,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
  )
  model = randomize(transformers.DetrForObjectDetection(settings), 5)
  with torch.no_grad():  # peaked attention: queries differ, and slips show
    for name, array in model.named_parameters():
      if name.endswith(("q_proj.weight", "k_proj.weight")):
        array.mul_(10)
  model.save_pretrained(tmp_path)
  pixels = images(64)
  body = resnet.ResNet(RESNET, jnp.float32)
  body_params = load.load(tmp_path, "resnet", parameters(body, pixels))
  v = run(body, body_params, pixels)[16]
  head = detector.Detector(DETECTOR, jnp.float32, "none")
  template = jax.jit(head.init)(jax.random.key(0), v)["params"]
  params = load.load(tmp_path, "detr", template, heads=4)
  ours = run(head, params, v)
  theirs = model(nchw(pixels))
  close(ours["states"], theirs.last_hidden_state)
  close(ours["boxes"], theirs.pred_boxes)
  assert np.ptp(ours["states"], axis=1).max() > 0.1
  assert np.ptp(ours["boxes"], axis=1).max() > 100 * TOLERANCE
  np.testing.assert_array_equal(
    params["saliency"]["kernel"], template["saliency"]["kernel"]
  )


def test_detr_transformer_reference(test_data: Path | None):
  """DETR's own transformer on a padded map: memory and each decoder layer.

  The reference is a stored run of DETR's published code; without it, torch's
  modules of the same equations give the numbers.
  """
  if test_data is None:
    reference = detr_reference.run()
  else:
    reference = dict(np.load(test_data / "oracle/detr_transformer_small.npz"))
  weights = {
    f"transformer.{name[2:]}": array
    for name, array in reference.items()
    if name.startswith("w:")
  }
  batch, width = reference["src"].shape[:2]
  queries, depth = len(reference["query_embed"]), len(reference["hs"])
  settings = config.Detector(2, depth, width, 4, 64, queries, "learned", 0.25)
  module = detector.Transformer(settings, jnp.float32, "none")

  def cells(name: str) -> np.ndarray:
    return reference[name].reshape(batch, width, -1).transpose(0, 2, 1)

  query = np.repeat(reference["query_embed"][None], batch, 0)
  mask = ~reference["mask"].reshape(batch, -1)
  inputs = cells("src"), cells("pos"), query, mask
  params = convert.from_torch(
    names.KINDS["detr"],
    weights,
    {"transformer": parameters(module, *inputs)},
    source="reference",
  )["transformer"]
  for layers in range(1, depth + 1):
    part = dataclasses.replace(settings, decoder_layers=layers)
    cut = params | {
      "decoder": jax.tree.map(lambda a, n=layers: a[:n], params["decoder"])
    }
    module = detector.Transformer(part, jnp.float32, "none")
    states, memory = run(module, cut, *inputs)
    np.testing.assert_allclose(states, reference["hs"][layers - 1], atol=1e-4)
  memory = np.asarray(memory).transpose(0, 2, 1).reshape(reference["src"].shape)
  np.testing.assert_allclose(memory, reference["memory"], atol=1e-4)
