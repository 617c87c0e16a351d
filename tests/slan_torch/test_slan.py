"""The PyTorch model as a thing to train, compile and move."""

import pytest
import torch

from slan_torch import SLANModel
from slan_torch.config import read_config
from slan_torch.roi_align import roi_align
from tests.slan_torch import pair


def tensors(cfg):
  images, ids, mask = (torch.from_numpy(x) for x in pair.inputs(cfg))
  return images, ids.long(), mask


def total(model, images, ids, mask):
  """A scalar that every loss of pre-training could be part of."""
  found = model(images, ids, mask)
  image, text = model.encode_image(images), model.encode_text(ids, mask)
  parts = [
    found[name]
    for name in ("itm_logits", "boxes", "word_logits", "caption_logits")
  ]
  parts += [image.proposals["saliency_logit"], image.proposals["boxes"]]
  parts.append(model.contrast(image, text))
  if "phrase_scale" in model.config.learned:
    parts.append(model.phrase_contrast(image, text))
  # Not the plain sum: boxes' and softmaxes' sums can be constant.
  return sum(
    (x * torch.linspace(1, 2, x.numel()).view_as(x)).sum() for x in parts
  )


@pytest.mark.parametrize(
  ("argument", "learned"),
  [
    ("scenes", pair.LEARNED),
    ("scenes,preset=paper", ("temperature",)),
  ],
)
@pytest.mark.parametrize("name", ("resnet_tiny", "vit_tiny"))
def test_gradients_reach_every_parameter(argument, learned, name):
  cfg = pair.config(argument, model__backbone__name=name)
  torch.manual_seed(0)
  model = SLANModel(read_config(pair.values(cfg, learned), "memory"))
  with torch.no_grad():  # nothing at zero, where gradients may vanish
    for parameter in model.parameters():
      if parameter.ndim:
        parameter.add_(0.05 * torch.randn_like(parameter))
  total(model, *tensors(cfg)).backward()
  still = [
    name
    for name, parameter in model.named_parameters()
    if parameter.grad is None or not parameter.grad.any()
  ]
  # DETR's queries enter the decoder as zeros: there is nothing to weigh yet.
  unused = {"detector.transformer.decoder.0.attention.value.weight"}
  if cfg.pyramid.source == "decoder":  # it reads the last map alone
    unused |= {"backbone.stage1_norm.weight", "backbone.stage1_norm.bias"}
  assert set(still) <= unused
  gradients = [p.grad for p in model.parameters() if p.grad is not None]
  assert all(gradient.isfinite().all() for gradient in gradients)


def test_roi_align_is_differentiable_in_the_boxes():
  torch.manual_seed(0)
  features = torch.randn(1, 6, 6, 2, dtype=torch.float64).float()
  boxes = torch.tensor([[[0.45, 0.52, 0.4, 0.3]]], requires_grad=True)
  value = roi_align(features, boxes, 2, 2)
  weights = torch.randn_like(value)
  (value * weights).sum().backward()
  step = 1e-3
  for axis in range(4):
    shift = torch.zeros_like(boxes)
    shift[..., axis] = step
    with torch.no_grad():
      up, down = (
        (roi_align(features, boxes + sign * shift, 2, 2) * weights).sum()
        for sign in (1, -1)
      )
    slope = (up - down) / (2 * step)
    torch.testing.assert_close(
      boxes.grad[0, 0, axis], slope, rtol=0.02, atol=0.01
    )


@pytest.mark.parametrize(
  ("argument", "capture"),
  [("scenes", "compile"), ("scenes,preset=paper", "export")],
)
def test_the_model_is_one_graph(argument, capture):
  """torch.compile and torch.export follow the whole forward pass."""
  cfg = pair.config(argument)
  model = pair.torch_model(cfg, pair.params(cfg))
  inputs = tensors(cfg)
  with torch.no_grad():
    plain = model(*inputs)
    if capture == "compile":  # without the backend's C++ compiler
      program = torch.compile(model, fullgraph=True, backend="aot_eager")
    else:
      program = torch.export.export(model, inputs).module()
    again = program(*inputs)
  for name, value in plain.items():
    torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-5)


def test_half_precision_stays_close():
  cfg = pair.config("scenes")
  model = pair.torch_model(cfg, pair.params(cfg))
  inputs = tensors(cfg)
  with torch.no_grad():
    image = model.encode_image(inputs[0])
    half = model.to(torch.bfloat16)
    other = half.encode_image(inputs[0])
    found = half(*inputs)
  cosine = (image.embedding * other.embedding).sum(-1)
  assert (cosine > 0.98).all()
  assert found["boxes"].dtype == torch.float32
  assert all(value.isfinite().all() for value in found.values())


def test_normalised_pixels_are_the_same_picture():
  """What an image processor of transformers gives, in its layout."""
  cfg = pair.config("scenes")
  model = pair.torch_model(cfg, pair.params(cfg))
  images, ids, mask = tensors(cfg)
  mean, std = torch.tensor(cfg.image_mean), torch.tensor(cfg.image_std)
  pixels = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
  with torch.no_grad():
    one, other = model(images, ids, mask), model(pixels, ids, mask)
  for name, value in one.items():
    torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5)
