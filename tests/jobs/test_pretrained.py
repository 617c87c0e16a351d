"""Published weights in new runs, and what is refused by name and shape."""

import functools
import json
import signal

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from slan_jax.interop import exported
from slan_jax.interop.convert import flatten
from slan_jax.interop.load import LoadError
from slan_jax.jobs import pretrained, train
from slan_jax.jobs.experiment import read_tokenizer
from slan_jax.training import config, sharding
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.state import abstract_params
from tests.interop.test_load import PARAMS, TENSORS, hub
from tests.interop.test_names import filled
from tests.jobs.light import STEPS, light_experiment, light_task

ENCODER = {
  "model__text__vocab_size": 11,
  "model__text__layers": 2,
  "model__text__heads": 2,
}


def experiment(path="", **changes):
  """Names a file; the model's sizes come from the parameters given."""
  return light_experiment(path, **ENCODER, **changes)


def shapes(changes=()):
  """Shapes of the task's parameters, some of the encoder's replaced."""
  flat = flatten(PARAMS) | dict(changes)
  tree: dict = {}
  for path, leaf in flat.items():
    *parents, last = path.split("/")
    inner = functools.reduce(
      lambda t, key: t.setdefault(key, {}), parents, tree
    )
    inner[last] = jax.ShapeDtypeStruct(leaf.shape, np.float32)
  return {"slan": {"text": tree}}


def test_misfits_are_refused_with_keys_and_both_shapes(tmp_path):
  wanted = experiment(init_from__text=str(hub(tmp_path)))
  read = functools.partial(pretrained.read_weights, wanted)
  assert set(read(shapes())) == {"text"}
  words = {"embeddings/word": np.empty((30, 16))}
  deeper = {
    path: np.empty((3, *leaf.shape[1:]))
    for path, leaf in flatten(PARAMS).items()
    if path.startswith("layers/")
  }
  wider = {"layers/mlp/up/kernel": np.empty((2, 16, 48))}
  for changes, message in (
    (words, r"word_embeddings.weight: file \(11, 16\), model \(30, 16\)"),
    (deeper, r"missing \(16\):\s+encoder.layer.2.attention"),
    (wider, r"layer.0.intermediate.dense.weight: file \(24, 16\), model \(48"),
  ):
    with pytest.raises(LoadError, match=message) as error:
      read(shapes(changes))
    assert str(error.value).startswith(f"init_from.text: {tmp_path}")


def test_a_detector_of_another_run_is_read_from_its_export(tmp_path):
  """Table 9's weights where nobody publishes any; saliency comes along."""
  detector = filled("detr")
  heads = light_experiment("").model.detector.heads
  tensors = exported.to_tensors({"slan": {"detector": detector}}, "float32")

  def write(heads):
    values = {"model": {"detector": {"heads": heads}}, "backbone": {}}
    values |= {"model_type": "slan", "slan_format": exported.FORMAT}
    (tmp_path / "config.json").write_text(json.dumps(values))
    save_file(tensors, tmp_path / exported.WEIGHTS)

  write(heads)
  wanted = light_experiment("", init_from__detector=str(tmp_path))
  read = functools.partial(
    pretrained.read_weights, wanted, {"slan": {"detector": detector}}
  )
  found = flatten(read()["detector"])
  assert set(found) == set(flatten(detector))
  for path, leaf in flatten(detector).items():
    np.testing.assert_array_equal(found[path], leaf)
  [source] = pretrained.sources(wanted)
  rows = pretrained.inventory(source, detector)
  assert {name for name, _, _ in rows} == set(tensors)
  assert {path for _, _, path in rows} == set(found)
  write(2 * heads)
  with pytest.raises(LoadError, match=rf"detector heads={2 * heads}, the mod"):
    read()
  tensors["detector.saliency.weight"] = np.zeros((1, 3), np.float32)
  write(heads)
  shapes = r"detector.saliency.weight: file \(1, 3\), model \(1, 16"
  with pytest.raises(LoadError, match=shapes):
    read()


def test_names_are_ignored_only_when_asked(tmp_path):
  tensors = dict(TENSORS)
  tensors["adapter.0.weight"] = np.zeros((3, 3), np.float32)
  path = str(hub(tmp_path, tensors))
  with pytest.raises(LoadError, match=r"adapter.0.weight\s+hint: init_from.ig"):
    pretrained.read_weights(experiment(init_from__text=path), shapes())
  passed = experiment(init_from__text=path, init_from__ignore=("adapter.",))
  assert pretrained.read_weights(passed, shapes())
  needed = experiment(init_from__text=path, init_from__ignore=("encoder.lay",))
  with pytest.raises(LoadError, match=r"missing \(32\)"):
    pretrained.read_weights(needed, shapes())


def test_weights_take_the_place_and_the_sharding_of_the_random_ones():
  mesh = sharding.make_mesh(
    config.Mesh(data=2, fsdp=4, gather="step", cpu_devices=8)
  )
  detector = filled("detr")
  plain = {"slan": {"text": PARAMS, "detector": detector}, "objective": {}}
  split = jax.NamedSharding(mesh, jax.P(None, "fsdp"))
  table = plain["slan"]["text"]["embeddings"]["word"]
  params = jax.device_put(plain, jax.NamedSharding(mesh, jax.P()))
  params["slan"]["text"]["embeddings"]["word"] = jax.device_put(table, split)
  new = jax.tree.map(lambda leaf: leaf + 1, plain["slan"])
  # What no file has stays: DETR's saliency.
  new["detector"]["saliency"] = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    detector["saliency"],
  )
  found = pretrained.graft(params, new)
  for old, leaf in zip(jax.tree.leaves(params), jax.tree.leaves(found)):
    assert leaf.sharding == old.sharding
  word = found["slan"]["text"]["embeddings"]["word"]
  np.testing.assert_array_equal(word, table + 1)
  saliency = found["slan"]["detector"]["saliency"]["kernel"]
  np.testing.assert_array_equal(saliency, detector["saliency"]["kernel"])
  # Two trees of one set of weights share no memory: each is given away.
  again = pretrained.graft(params, new)
  jax.jit(lambda tree: jax.tree.map(lambda a: 0 * a, tree), donate_argnums=0)(
    again
  )
  np.testing.assert_array_equal(word, table + 1)


def with_encoder(experiment, encoder):
  """The light task, beside parameters that no loss touches."""
  task = light_task(experiment, encoder)

  def init(key):
    params, carry = task.init(key)
    rest = jax.tree.map(jax.numpy.zeros_like, PARAMS)
    return params | {"slan": {"text": rest}}, carry

  return task._replace(init=init)


def test_a_run_starts_from_the_file_and_goes_on_without_it(
  scenes, tmp_path, monkeypatch
):
  weights = tmp_path / "weights"
  weights.mkdir()
  hub(weights)
  run = tmp_path / "run"
  wanted = light_experiment(
    scenes,
    model__text__heads=2,
    init_from__text=str(weights),
    optimizer__weight_decay=0.0,
    optimizer__ema_decay=0.9,
    evaluation__every_steps=0,
  )
  monkeypatch.setattr(train, "make_task", with_encoder)
  original, seen = train.global_batch, []

  def stopping(batch, mesh):
    seen.append(batch)
    if len(seen) == 2:
      signal.raise_signal(signal.SIGINT)
    return original(batch, mesh)

  monkeypatch.setattr(train, "global_batch", stopping)
  assert train.train(wanted, run) == 130
  (weights / "model.safetensors").unlink()
  assert train.train(wanted, run) == 0
  task = with_encoder(*read_tokenizer(wanted))
  like = abstract_params(task, sharding.make_mesh(wanted.mesh))
  checkpoints = Checkpoints(run / "checkpoints", read_only=True)
  for part, rounding in (("params", 0.0), ("ema", 1e-6)):
    found = checkpoints.restore_part(STEPS, part, like)["slan"]["text"]
    close = functools.partial(np.testing.assert_allclose, rtol=rounding)
    jax.tree.map(close, found, PARAMS)
  with pytest.raises(LoadError, match=r"init_from\.text: .* holds none of"):
    train.train(wanted, tmp_path / "other")
