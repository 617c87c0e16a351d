"""The table of names, and arrays moved through it in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.interop import convert, names
from slan_jax.interop.problems import LoadError
from slan_jax.models import bert, config, detector, resnet, vit

WIDTH = 16
TEXT = config.Text(11, 2, 2, 24, 6, ())


def template(kind: str):
  """Parameter shapes of a small model of a kind."""
  ids, mask = jnp.zeros((1, 4), int), jnp.ones((1, 4), bool)
  states = jnp.zeros((1, 4, WIDTH))
  pixels = jnp.zeros((1, 32, 32, 3))
  image_row = config.VitRow(8, WIDTH, 2, 2, 24, 1)
  body = config.ResNetRow(
    "imagenet", 4, "bottleneck", (8, 12), (2, 1), 1, "frozen_batch"
  )
  head = config.Detector(1, 2, WIDTH, 2, 24, 5, "learned", 0.2)
  writer = config.Generator(2, 2, 24)
  plain = jnp.float32, "none"
  module, inputs = {
    "bert": (bert.BertEncoder(TEXT, WIDTH, *plain), (ids, mask)),
    "bert_decoder": (
      bert.BertDecoder(TEXT, writer, WIDTH, *plain),
      (ids, mask, states, mask),
    ),
    "language_head": (
      bert.LanguageHead(jnp.float32),
      (states, jnp.zeros((11, WIDTH))),
    ),
    "vit": (vit.Vit(image_row, 32, *plain), (pixels,)),
    "resnet": (resnet.ResNet(body, *plain), (pixels,)),
    "detr": (detector.Detector(head, *plain), (jnp.zeros((1, 4, 4, 6)),)),
  }[kind]
  return jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]


def filled(kind: str):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype("float32"), template(kind)
  )


CASES = [(kind, d) for kind in names.KINDS for d in names.KINDS[kind].dialects]


@pytest.mark.parametrize(("kind", "dialect"), CASES)
def test_out_and_in_again(kind: str, dialect: str):
  """Every dialect is written and recognised, bit for bit, nothing left over."""
  table, params = names.KINDS[kind], filled(kind)
  tensors = convert.to_torch(table, params, dialect=dialect)
  again = convert.from_torch(table, tensors, params, source="memory")
  jax.tree.map(np.testing.assert_array_equal, params, again)
  own = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  kept = convert.flatten(params)
  kept = sum(kept[path].size for path in table.ours_only if path in kept)
  assert sum(array.size for array in tensors.values()) == own - kept


# One name of each construction, as published files spell it, with its shape.
SPELLINGS = {
  ("bert", "huggingface"): {
    "encoder.layer.1.attention.output.LayerNorm.weight": (16,),
    "embeddings.token_type_embeddings.weight": (2, 16),
  },
  ("bert", "tensorflow"): {"embeddings.LayerNorm.gamma": (16,)},
  ("bert_decoder", "huggingface"): {
    "encoder.layer.0.crossattention.self.value.bias": (16,),
  },
  ("language_head", "huggingface"): {"cls.predictions.bias": (11,)},
  ("vit", "huggingface"): {
    "embeddings.position_embeddings": (1, 17, 16),
    "embeddings.patch_embeddings.projection.weight": (16, 3, 8, 8),
    "encoder.layer.1.attention.attention.query.weight": (16, 16),
    "encoder.layer.1.output.dense.weight": (16, 24),
  },
  ("vit", "transformers5"): {
    "layers.1.attention.q_proj.weight": (16, 16),
    "layers.0.mlp.fc2.bias": (16,),
  },
  ("vit", "timm"): {
    "cls_token": (1, 1, 16),
    "pos_embed": (1, 17, 16),
    "blocks.1.attn.qkv.weight": (48, 16),
    "blocks.1.attn.qkv.bias": (48,),
    "blocks.0.attn.proj.weight": (16, 16),
    "blocks.0.mlp.fc1.weight": (24, 16),
    "norm.weight": (16,),
  },
  ("resnet", "huggingface"): {
    "embedder.embedder.convolution.weight": (4, 3, 7, 7),
    "encoder.stages.1.layers.0.shortcut.normalization.running_var": (12,),
    "encoder.stages.0.layers.1.layer.1.convolution.weight": (2, 2, 3, 3),
  },
  ("resnet", "timm"): {
    "conv1.weight": (4, 3, 7, 7),
    "bn1.running_mean": (4,),
    "layer2.0.downsample.0.weight": (12, 8, 1, 1),
    "layer1.1.bn3.weight": (8,),
  },
  ("detr", "huggingface"): {
    "input_projection.weight": (16, 6, 1, 1),
    "encoder.layers.0.self_attn.out_proj.weight": (16, 16),
    "decoder.layers.1.encoder_attn_layer_norm.bias": (16,),
    "decoder.layers.1.fc1.weight": (24, 16),
    "bbox_predictor.layers.2.weight": (4, 16),
  },
  ("detr", "transformers5"): {
    "decoder.layers.1.mlp.fc1.weight": (24, 16),
    "encoder.layers.0.self_attn.o_proj.bias": (16,),
  },
  ("detr", "original"): {
    "transformer.encoder.layers.0.self_attn.in_proj_weight": (48, 16),
    "transformer.encoder.layers.0.norm2.weight": (16,),
    "transformer.decoder.layers.1.multihead_attn.in_proj_bias": (48,),
    "transformer.decoder.layers.1.norm3.weight": (16,),
    "transformer.decoder.norm.bias": (16,),
    "bbox_embed.layers.0.weight": (16, 16),
    "query_embed.weight": (5, 16),
    "input_proj.bias": (16,),
  },
}


@pytest.mark.parametrize(("kind", "dialect"), SPELLINGS)
def test_published_spellings(kind: str, dialect: str):
  """Names and shapes as the publishers' files have them, literally."""
  tensors = convert.to_torch(names.KINDS[kind], filled(kind), dialect=dialect)
  for name, shape in SPELLINGS[kind, dialect].items():
    assert tensors[name].shape == shape, name


def test_fused_thirds_are_query_key_value_in_order():
  """timm's qkv holds query, key and value from top to bottom, transposed."""
  params = filled("vit")
  own = params["layers"]["attention"]
  fused = convert.to_torch(names.KINDS["vit"], params, dialect="timm")
  fused = fused["blocks.1.attn.qkv.weight"]
  for k, part in enumerate(("query", "key", "value")):
    third = fused[16 * k : 16 * (k + 1)]
    np.testing.assert_array_equal(third, own[part]["kernel"][1].T)


def test_unknown_parameter_of_ours_is_an_error():
  params = filled("bert") | {"extra": np.zeros(3)}
  with pytest.raises(LoadError, match="'extra'"):
    convert.to_torch(names.KINDS["bert"], params)


def test_values_take_the_type_of_the_template():
  """Half-precision files fill float32 parameters."""
  params = filled("language_head")
  kind = names.KINDS["language_head"]
  tensors = convert.to_torch(kind, params)
  halves = {name: a.astype(np.float16) for name, a in tensors.items()}
  again = convert.from_torch(kind, halves, params, source="memory")
  for leaf, like in zip(jax.tree.leaves(again), jax.tree.leaves(params)):
    assert leaf.dtype == np.float32
    np.testing.assert_allclose(leaf, like, rtol=1e-3)
