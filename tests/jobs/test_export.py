"""The export job: from a run's directory to one that other tools read."""

import dataclasses
import json

import pytest
import torch

from slan_jax.interop import exported, verify
from slan_jax.interop.export import Trained
from slan_jax.jobs import common, export, train, trained
from slan_torch import Processor, SLANModel
from tests.interop.parity import transformers
from tests.jobs.light import STEPS, light_experiment, light_task
from tests.slan_torch import pair


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
  """A complete run of the light task."""
  directory = tmp_path_factory.mktemp("run")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train, "make_task", light_task)
    experiment = light_experiment(scenes, objective__lm=0.0)
    assert train.train(experiment, directory) == 0
  return directory


def arguments(*given):
  return export._parser().parse_args(["--workdir", "run", *map(str, given)])


@pytest.fixture(scope="module")
def small(run):
  """The small model, with what the run says about itself."""
  whole = trained.read_run(run, "last")
  cfg = pair.config(
    "scenes", model__text__vocab_size=whole.model.text.vocab_size
  )
  return whole._replace(model=cfg, params=pair.params(cfg))


def test_a_run_is_read_with_its_tokenizer_and_card(run):
  report = {
    "task": "retrieval",
    "protocol": "All of them.",
    "score": "sum",
    "checkpoint_step": 3,
    "config_hash": "0",
    "samples": {},
    "metrics": {"i2t_r1": 12.5},
    "chance": {"i2t_r1": 1.0},
    "untrained": {},
  }
  path = run / "eval" / "retrieval" / "metrics.json"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps(report))
  found = trained.read_run(run, "last", "bfloat16", ema=False)
  assert isinstance(found, Trained)
  assert found.token_ids["pad"] == 0 and not found.captions
  assert set(found.params) == {"image", "text"}
  for part in (
    f"Step {STEPS}", "| `i2t_r1` | 12.50 | 1.00 |  |", "bfloat16",
    f"Scored at step 3, not {STEPS}.", "captions that it writes mean nothing",
  ):  # fmt: skip
    assert part in found.card
  assert json.loads(json.dumps(found.training)) == found.training
  path.unlink()


def test_what_a_run_lacks_is_named(run, tmp_path):
  with pytest.raises(ValueError, match="--ema"):
    trained.read_run(run, "last", "float32", ema=True)
  with pytest.raises(ValueError, match="checkpoint=77"):
    trained.read_run(run, "77", "float32", ema=False)
  with pytest.raises(ValueError, match="not the work directory"):
    trained.read_run(tmp_path, "last", "float32", ema=False)


def test_verified_and_read_by_other_tools(small, tmp_path, monkeypatch, capsys):
  opened = trained.Run(small, lambda part: part, STEPS)
  monkeypatch.setattr(export, "open_run", lambda *_: opened)
  out = tmp_path / "out"
  assert export._from_arguments(arguments("--output", out, "--verify")) == 0
  assert "largest:" in capsys.readouterr().out
  texts = ["a red circle", "a blue square above a green cross"]
  tokenizer = transformers.AutoTokenizer.from_pretrained(out)
  theirs = tokenizer(texts, padding="max_length", return_tensors="pt")
  processor = Processor.from_pretrained(out)
  ids, mask = processor.texts(texts)
  assert torch.equal(ids, theirs["input_ids"])
  assert torch.equal(mask, theirs["attention_mask"].bool())
  assert processor.decode(ids)[0] == texts[0]
  assert SLANModel.from_pretrained(out).cfg.width == small.model.width

  again = arguments("--output", out, "--dtype", "float16")
  with pytest.raises(FileExistsError, match="--force"):
    export._from_arguments(again)
  forced = arguments("--output", out, "--dtype", "float16", "--force")
  assert export._from_arguments(forced) == 0
  assert exported.read_config(out)["dtype"] == "float16"


def test_frameworks_that_differ_fall_short(small, tmp_path, monkeypatch):
  """Half precision is expected to differ, float32 is not."""
  opened = trained.Run(small, lambda part: part, STEPS)
  monkeypatch.setattr(export, "open_run", lambda *_: opened)
  monkeypatch.setattr(verify, "outputs_of_jax", lambda *_: {})
  monkeypatch.setattr(verify, "differences", lambda *_: {"boxes": 2e-4})
  for dtype, code in (("float32", common.FALLS_SHORT), ("bfloat16", 0)):
    given = ("--output", tmp_path / dtype, "--dtype", dtype, "--verify")
    assert export._from_arguments(arguments(*given)) == code


def test_a_run_of_another_model_is_refused(small, tmp_path, monkeypatch):
  """As when the code has changed since: nothing is written."""
  wider = dataclasses.replace(small.model, width=2 * small.model.width)
  opened = trained.Run(small._replace(model=wider), lambda part: part, STEPS)
  monkeypatch.setattr(export, "open_run", lambda *_: opened)
  with pytest.raises(ValueError, match="of another model, perhaps of an earl"):
    export._from_arguments(arguments("--output", tmp_path / "out"))
  assert not list(tmp_path.iterdir())


def test_formats_do_not_mix(tmp_path):
  for given in (("--verify",), ("--dtype", "float16")):
    with pytest.raises(ValueError, match=given[0]):
      export._from_arguments(
        arguments("--output", tmp_path / "o", "--format", "stablehlo", *given)
      )
  assert not list(tmp_path.iterdir())
