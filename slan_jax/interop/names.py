"""One table: where each part of the model stands in published torch files.

A row is a module of ours, its form, and its name in files of the Hugging Face
hub; a dialect is how another publisher spells the same rows. `{s}`, `{b}`
count stages and blocks from 1, `{s0}`, `{b0}` from 0; `{i}` counts stacked
layers, whose parameters have a leading axis in our tree. "#k" is the k-th
third of an array that the dialect keeps fused. The table is read in both
directions by `slan_jax.interop.convert`.
"""

from typing import NamedTuple


class Leaf(NamedTuple):
  """One array of a form: our name, torch's name, and the change of layout."""

  ours: str
  torch: str
  layout: str


# Layouts, from torch's to ours: "same"; "transpose" (a dense kernel); "conv"
# (OIHW -> HWIO); "pointwise" (a 1x1 convolution, here a dense kernel); "rows"
# (a leading axis of 1 dropped).
_BIAS = Leaf("bias", "bias", "same")
_NORM = (Leaf("scale", "weight", "same"), _BIAS)
FORMS: dict[str, tuple[Leaf, ...]] = {
  "dense": (Leaf("kernel", "weight", "transpose"), _BIAS),
  "pointwise": (Leaf("kernel", "weight", "pointwise"), _BIAS),
  "conv": (Leaf("kernel", "weight", "conv"),),
  "conv_bias": (Leaf("kernel", "weight", "conv"), _BIAS),
  "norm": _NORM,
  "batch_norm": _NORM
  + (Leaf("mean", "running_mean", "same"), Leaf("var", "running_var", "same")),
  "table": (Leaf("", "weight", "same"),),
  "kernel": (Leaf("kernel", "weight", "same"),),
  "array": (Leaf("", "", "same"),),
  "rows": (Leaf("", "", "rows"),),
}


class Row(NamedTuple):
  """A module: our path, its form (of `FORMS`), its name on the hub."""

  path: str
  form: str
  name: str


class Kind(NamedTuple):
  """An architecture: its rows, and what its files carry besides.

  Attributes:
    rows: the table.
    dialects: publisher -> replacements that turn the hub's names into its own,
      applied in order.
    prefixes: of torch names, dropped on reading (each once, in order).
    ignored: regular expressions of torch names that belong to other parts.
    ours_only: our paths that no published file has; they keep their values.
    model_types: accepted `model_type` of a config.json.
    required: fields of a config.json that must have this value if present.
  """

  rows: tuple[Row, ...]
  dialects: dict[str, tuple[tuple[str, str], ...]]
  prefixes: tuple[str, ...]
  ignored: tuple[str, ...]
  ours_only: tuple[str, ...]
  model_types: tuple[str, ...]
  required: dict[str, object]


def _rows(table: str) -> tuple[Row, ...]:
  return tuple(Row(*line.split()) for line in table.strip().splitlines())


_BERT = _rows("""
embeddings/word        table  embeddings.word_embeddings
embeddings/position    table  embeddings.position_embeddings
embeddings/token_type  table  embeddings.token_type_embeddings
embeddings/norm        norm   embeddings.LayerNorm
layers/attention/query dense  encoder.layer.{i}.attention.self.query
layers/attention/key   dense  encoder.layer.{i}.attention.self.key
layers/attention/value dense  encoder.layer.{i}.attention.self.value
layers/attention/out   dense  encoder.layer.{i}.attention.output.dense
layers/attention_norm  norm   encoder.layer.{i}.attention.output.LayerNorm
layers/mlp/up          dense  encoder.layer.{i}.intermediate.dense
layers/mlp/down        dense  encoder.layer.{i}.output.dense
layers/mlp_norm        norm   encoder.layer.{i}.output.LayerNorm
""")

_CROSS = _rows("""
layers/cross/query dense  encoder.layer.{i}.crossattention.self.query
layers/cross/key   dense  encoder.layer.{i}.crossattention.self.key
layers/cross/value dense  encoder.layer.{i}.crossattention.self.value
layers/cross/out   dense  encoder.layer.{i}.crossattention.output.dense
layers/cross_norm  norm   encoder.layer.{i}.crossattention.output.LayerNorm
""")

_LANGUAGE_HEAD = _rows("""
dense dense  cls.predictions.transform.dense
norm  norm   cls.predictions.transform.LayerNorm
bias  array  cls.predictions.bias
""")

# Checkpoints that were once converted from TensorFlow keep its norm's names.
_TENSORFLOW = (
  ("LayerNorm.weight", "LayerNorm.gamma"),
  ("LayerNorm.bias", "LayerNorm.beta"),
)

_VIT = _rows("""
class_token            rows      embeddings.cls_token
position               rows      embeddings.position_embeddings
patches                conv_bias embeddings.patch_embeddings.projection
layers/attention_norm  norm      encoder.layer.{i}.layernorm_before
layers/attention/query dense     encoder.layer.{i}.attention.attention.query
layers/attention/key   dense     encoder.layer.{i}.attention.attention.key
layers/attention/value dense     encoder.layer.{i}.attention.attention.value
layers/attention/out   dense     encoder.layer.{i}.attention.output.dense
layers/mlp_norm        norm      encoder.layer.{i}.layernorm_after
layers/mlp/up          dense     encoder.layer.{i}.intermediate.dense
layers/mlp/down        dense     encoder.layer.{i}.output.dense
norm                   norm      layernorm
""")

# `state_dict()` of transformers 5, which renamed modules but not its files.
_VIT_NEW = (
  ("encoder.layer.", "layers."),
  ("attention.attention.query", "attention.q_proj"),
  ("attention.attention.key", "attention.k_proj"),
  ("attention.attention.value", "attention.v_proj"),
  ("attention.output.dense", "attention.o_proj"),
  ("intermediate.dense", "mlp.fc1"),
  ("output.dense", "mlp.fc2"),
)

_VIT_TIMM = (
  ("embeddings.cls_token", "cls_token"),
  ("embeddings.position_embeddings", "pos_embed"),
  ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
  ("encoder.layer.", "blocks."),
  ("layernorm_before", "norm1"),
  ("layernorm_after", "norm2"),
  ("attention.attention.query", "attn.qkv#0"),
  ("attention.attention.key", "attn.qkv#1"),
  ("attention.attention.value", "attn.qkv#2"),
  ("attention.output.dense", "attn.proj"),
  ("intermediate.dense", "mlp.fc1"),
  ("output.dense", "mlp.fc2"),
  ("layernorm", "norm"),
)

_BLOCK = "encoder.stages.{s0}.layers.{b0}"
_RESNET = _rows(f"""
stem/conv                      conv       embedder.embedder.convolution
stem/norm                      batch_norm embedder.embedder.normalization
stage{{s}}_block{{b}}/unit1/conv    conv       {_BLOCK}.layer.0.convolution
stage{{s}}_block{{b}}/unit1/norm    batch_norm {_BLOCK}.layer.0.normalization
stage{{s}}_block{{b}}/unit2/conv    conv       {_BLOCK}.layer.1.convolution
stage{{s}}_block{{b}}/unit2/norm    batch_norm {_BLOCK}.layer.1.normalization
stage{{s}}_block{{b}}/unit3/conv    conv       {_BLOCK}.layer.2.convolution
stage{{s}}_block{{b}}/unit3/norm    batch_norm {_BLOCK}.layer.2.normalization
stage{{s}}_block{{b}}/shortcut/conv conv       {_BLOCK}.shortcut.convolution
stage{{s}}_block{{b}}/shortcut/norm batch_norm {_BLOCK}.shortcut.normalization
""")

# timm, torchvision, and the backbone inside published DETR files.
_RESNET_TIMM = (
  ("embedder.embedder.convolution", "conv1"),
  ("embedder.embedder.normalization", "bn1"),
  ("encoder.stages.{s0}.layers.", "layer{s}."),
  *((f"layer.{k}.convolution", f"conv{k + 1}") for k in range(3)),
  *((f"layer.{k}.normalization", f"bn{k + 1}") for k in range(3)),
  ("shortcut.convolution", "downsample.0"),
  ("shortcut.normalization", "downsample.1"),
)


def _detr_layer(side: str, cross: bool) -> str:
  """Rows of one side; both sides share all but the cross attention."""
  ours, hub = f"transformer/{side}", f"{side}.layers.{{i}}"
  pairs = [("attention", "self_attn")]
  if cross:
    pairs.append(("cross", "encoder_attn"))
  lines = []
  for path, name in pairs:
    lines += [
      f"{ours}/{path}/query dense {hub}.{name}.q_proj",
      f"{ours}/{path}/key dense {hub}.{name}.k_proj",
      f"{ours}/{path}/value dense {hub}.{name}.v_proj",
      f"{ours}/{path}/out dense {hub}.{name}.out_proj",
      f"{ours}/{path}_norm norm {hub}.{name}_layer_norm",
    ]
  lines += [
    f"{ours}/mlp/up dense {hub}.fc1",
    f"{ours}/mlp/down dense {hub}.fc2",
    f"{ours}/mlp_norm norm {hub}.final_layer_norm",
  ]
  return "\n".join(lines)


_DETR = _rows(f"""
input pointwise input_projection
query table     query_position_embeddings
{_detr_layer("encoder", cross=False)}
{_detr_layer("decoder", cross=True)}
transformer/decoder_norm norm decoder.layernorm
box1  dense     bbox_predictor.layers.0
box2  dense     bbox_predictor.layers.1
box3  dense     bbox_predictor.layers.2
""")

_DETR_NEW = (
  ("out_proj", "o_proj"),
  (".fc1", ".mlp.fc1"),
  (".fc2", ".mlp.fc2"),
)

_DETR_ORIGINAL = (
  ("input_projection", "input_proj"),
  ("query_position_embeddings", "query_embed"),
  ("encoder.layers.{i}.final_layer_norm", "encoder.layers.{i}.norm2"),
  ("decoder.layers.{i}.final_layer_norm", "decoder.layers.{i}.norm3"),
  ("self_attn_layer_norm", "norm1"),
  ("encoder_attn_layer_norm", "norm2"),
  ("encoder_attn", "multihead_attn"),
  ("q_proj", "in_proj_#0"),
  ("k_proj", "in_proj_#1"),
  ("v_proj", "in_proj_#2"),
  (".fc1", ".linear1"),
  (".fc2", ".linear2"),
  ("decoder.layernorm", "decoder.norm"),
  ("encoder.", "transformer.encoder."),
  ("decoder.", "transformer.decoder."),
  ("bbox_predictor", "bbox_embed"),
)

_BERT_KIND = Kind(
  rows=_BERT,
  dialects={"huggingface": (), "tensorflow": _TENSORFLOW},
  prefixes=("module.", "bert."),
  ignored=(r"pooler\.", r"cls\.", r"embeddings\.position_ids", r"classifier\."),
  ours_only=(),
  model_types=("bert",),
  required={"hidden_act": "gelu", "position_embedding_type": "absolute"},
)

KINDS: dict[str, Kind] = {
  "bert": _BERT_KIND,
  "bert_decoder": _BERT_KIND._replace(rows=_BERT + _CROSS),
  "language_head": _BERT_KIND._replace(
    rows=_LANGUAGE_HEAD,
    prefixes=("module.",),
    # The decoder's weight is the word table again.
    ignored=(r"bert\.", r"cls\.predictions\.decoder\.", r"cls\.seq_rel"),
  ),
  "vit": Kind(
    rows=_VIT,
    dialects={"huggingface": (), "timm": _VIT_TIMM, "transformers5": _VIT_NEW},
    prefixes=("module.", "vit."),
    ignored=(r"pooler\.", r"classifier\.", r"head\.", r"embeddings\.mask_tok"),
    ours_only=(),
    model_types=("vit",),
    required={"hidden_act": "gelu", "qkv_bias": True},
  ),
  "resnet": Kind(
    rows=_RESNET,
    dialects={"huggingface": (), "timm": _RESNET_TIMM},
    prefixes=(
      "module.", "resnet.", "model.", "backbone.conv_encoder.model.",
      "backbone.model.", "backbone.0.body.",
    ),
    # A file of DETR holds its backbone beside the transformer.
    ignored=(
      r"fc\.|classifier\.|.*num_batches_tracked$",
      r"(en|de)coder\.layer|transformer\.|input_proj|query_|class_|bbox_",
    ),
    ours_only=(),
    model_types=("resnet", "detr"),
    required={"layer_type": "bottleneck", "downsample_in_bottleneck": False},
  ),
  "detr": Kind(
    rows=_DETR,
    dialects={
      "huggingface": (), "original": _DETR_ORIGINAL, "transformers5": _DETR_NEW,
    },
    prefixes=("module.", "model."),
    ignored=(r"backbone\.", r"class_labels_classifier\.", r"class_embed\."),
    # The latter where queries start from a grid.
    ours_only=(
      "saliency/kernel", "saliency/bias", "content/kernel", "content/bias",
    ),
    model_types=("detr",),
    required={"activation_function": "relu", "position_embedding_type": "sine"},
  ),
}  # fmt: skip
