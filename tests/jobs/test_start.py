"""Runs that start from other runs, and what is refused by name and shape."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save

from slan_jax.input.errors import InputError
from slan_jax.interop import exported
from slan_jax.interop.convert import flatten
from slan_jax.interop.problems import LoadError
from slan_jax.jobs import catalog, workdir
from slan_jax.jobs.catalog import scored_task
from slan_jax.jobs.experiment import read_tokenizer
from slan_jax.jobs.start import read_start
from slan_jax.jobs.typed import ConfigError
from slan_jax.models.vit import resize_positions
from slan_jax.training import sharding
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.state import TrainState
from tests.data.test_bucket import bucket  # noqa: F401
from tests.jobs.light import light_experiment

CHANGES = {"mesh__data": 2, "mesh__fsdp": 4}


def parameters(side: int = 2, **more):
  """A model of a ViT's position table and a matrix, with temperatures."""
  count = 1 + side * side
  return {
    "slan": {
      "backbone": {"position": np.arange(count * 3.0).reshape(count, 3)},
      "text": {"word": np.arange(6.0).reshape(2, 3)},
    },
    "objective": {"temperature": np.float32(0.07)},
  } | more


@pytest.fixture(scope="module")
def mesh():
  config = light_experiment("", **CHANGES).mesh
  return sharding.make_mesh(config)


@pytest.fixture
def run(scenes, tmp_path, mesh):
  """The work directory of a run of one step with these parameters."""
  experiment, _ = read_tokenizer(light_experiment(scenes))
  workdir.write(tmp_path, experiment)
  params = place(parameters(), mesh)
  zero = jnp.zeros((), jnp.int32)
  checkpoints = Checkpoints(tmp_path / workdir.CHECKPOINTS)
  key = jax.random.key(0)
  state = TrainState(zero + 1, params, {}, {}, {}, key, zero, zero)
  checkpoints.save(state, {})
  checkpoints.close()
  return tmp_path


def place(tree, mesh):
  tree = jax.tree.map(np.float32, tree)
  return jax.device_put(tree, sharding.replicated(mesh))


def start(scenes, run, tree, mesh, **changes):
  changes = {"init_from__run": str(run)} | changes
  experiment, encoder = read_tokenizer(light_experiment(scenes, **changes))
  params = place(tree, mesh)
  like = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=leaf.sharding
    ),
    params,
  )
  return read_start(experiment, encoder, like), params


def test_shared_parameters_are_taken_and_heads_start_fresh(scenes, run, mesh):
  head = {"kernel": np.full((3, 2), 5.0)}
  other = jax.tree.map(lambda leaf: leaf * 0 - 1, parameters(nlvr2=head))
  found, params = start(scenes, run, other, mesh)
  taken = found.graft(params)
  for name, leaf in flatten(parameters()).items():
    np.testing.assert_array_equal(flatten(taken)[name], np.float32(leaf))
  np.testing.assert_array_equal(taken["nlvr2"]["kernel"], -np.ones((3, 2)))
  assert "starting at random: nlvr2/kernel" in found.notes
  # Two trees share no memory: each is given away.
  jax.jit(lambda tree: jax.tree.map(jnp.zeros_like, tree), donate_argnums=0)(
    found.graft(params)
  )
  word = parameters()["slan"]["text"]["word"]
  np.testing.assert_array_equal(taken["slan"]["text"]["word"], word)


def test_positions_follow_the_image_size(scenes, run, mesh):
  found, params = start(
    scenes, run, parameters(side=4), mesh, model__image_size=96
  )
  table = found.graft(params)["slan"]["backbone"]["position"]
  old = jnp.float32(parameters()["slan"]["backbone"]["position"])
  np.testing.assert_allclose(table, resize_positions(old, 4), rtol=1e-6)
  assert "slan/backbone/position: resized to 4 x 4 patches" in found.notes


def test_misfits_are_listed_and_nothing_is_taken(scenes, run, mesh):
  tree = parameters()
  tree["slan"]["text"] = {"word": np.zeros((3, 3)), "new": np.zeros(2)}
  del tree["slan"]["backbone"]
  with pytest.raises(LoadError) as error:
    start(scenes, run, tree, mesh)
  text = str(error.value)
  assert "missing (1):\n    slan/text/new" in text
  assert "unexpected (1):\n    slan/backbone/position" in text
  assert "slan/text/word: run (2, 3), model (3, 3)" in text


def test_settings_that_shapes_do_not_show_are_told(scenes, run, mesh):
  found, _ = start(scenes, run, parameters(), mesh, model__filter__top=7)
  assert "model.filter.top was 16 there and is 7 here" in found.notes


def test_another_vocabulary_is_refused(scenes, run, mesh, tmp_path):
  path = tmp_path / "other"
  path.mkdir()
  tokenizer = json.loads((scenes / "tokenizer/tokenizer.json").read_text())
  words = tokenizer["model"]["vocab"]
  words["zebra"] = len(words)
  (path / "tokenizer.json").write_text(json.dumps(tokenizer))
  with pytest.raises(LoadError, match=r"unknown there: zebra\. Set text\.tok"):
    start(scenes, run, parameters(), mesh, text__tokenizer=str(path))
  values = json.loads((run / "config.json").read_text())
  values["config"]["data"]["dir"] = str(tmp_path / "gone")
  (run / "config.json").write_text(json.dumps(values))
  with pytest.raises(InputError, match="Or start from an export of that run"):
    start(scenes, run, parameters(), mesh)


def test_what_is_no_run_is_refused(scenes, tmp_path, mesh):
  with pytest.raises(LoadError, match="neither the work directory of a run"):
    start(scenes, tmp_path, parameters(), mesh)
  with pytest.raises(ConfigError, match=r"init_from\.text must be empty"):
    start(scenes, tmp_path, parameters(), mesh, init_from__text="bert")
  found, _ = start(scenes, "", parameters(), mesh)
  assert not found.arrays and not found.notes


def test_an_export_is_a_start_too(scenes, run, mesh, monkeypatch):
  """What slan-export wrote; the arrays are those of its own reader."""
  experiment, encoder = read_tokenizer(light_experiment(scenes))
  values = {"model": dataclasses.asdict(experiment.model), "learned": []}
  out = run / "export"
  out.mkdir()
  (out / "config.json").write_text(json.dumps({"model_type": "slan"} | values))
  (out / "tokenizer.json").write_text(encoder.to_json())
  monkeypatch.setattr(exported, "read_config", lambda directory: values)
  tree = jax.tree.map(np.float32, parameters())
  monkeypatch.setattr(exported, "template_of", lambda values, model: tree)
  monkeypatch.setattr(exported, "load_export", lambda path, like: tree)
  found, params = start(scenes, out, jax.tree.map(np.zeros_like, tree), mesh)
  jax.tree.map(np.testing.assert_array_equal, found.graft(params), tree)
  with pytest.raises(ConfigError, match=r"init_from\.checkpoint=best"):
    start(scenes, out, tree, mesh, init_from__checkpoint="best")


def test_a_task_with_a_head_needs_its_own_run(scenes, monkeypatch):
  experiment, encoder = read_tokenizer(light_experiment(scenes))
  own = object()
  entry = catalog.CATALOG["retrieval"]._replace(any_run=False)
  monkeypatch.setitem(catalog.CATALOG, "retrieval", entry)
  with pytest.raises(ValueError, match="was trained for 'pretrain', and retri"):
    scored_task("retrieval", experiment, encoder, own)
  tuned = dataclasses.replace(experiment, task="retrieval")
  assert scored_task("retrieval", tuned, encoder, own) is own
  with pytest.raises(ConfigError, match="task is 'grounds'; choose one of pre"):
    catalog.make_task(dataclasses.replace(experiment, task="grounds"), encoder)


def test_a_large_encoder_that_starts_at_random_is_told():
  """Row 33 of docs/METHOD.md."""
  small = light_experiment("")
  large = light_experiment("", model__backbone__name="vit_b")
  assert read_start(small, None, None).notes == []
  [note] = read_start(large, None, None).notes
  assert "init_from.backbone" in note


def test_a_start_from_a_bucket(scenes, run, mesh, bucket, monkeypatch):  # noqa: F811
  """Of a run, whose arrays Orbax would read, and of an export, whole."""
  bucket.put(str(run / "config.json"), "gs://runs/one/config.json")
  asked, local = [], workdir.open_checkpoints(run)
  monkeypatch.setattr(
    workdir, "open_checkpoints", lambda path: asked.append(path) or local
  )
  found, _ = start(scenes, "gs://runs/one", parameters(), mesh)
  assert [str(path) for path in asked] == ["gs://runs/one"]
  np.testing.assert_array_equal(
    found.arrays["slan/text/word"], parameters()["slan"]["text"]["word"]
  )
  assert "Starting from gs://runs/one: 3 arrays" in found.notes
  with pytest.raises(LoadError, match=r"run=gs://runs/none: neither"):
    start(scenes, "gs://runs/none", parameters(), mesh)


def test_an_export_in_a_bucket(bucket):  # noqa: F811
  values = {"model_type": "slan", "slan_format": exported.FORMAT}
  home = "gs://runs/export"
  bucket.pipe(f"{home}/config.json", json.dumps(values).encode())
  learned = {"objective": {"temperature": np.float32(0.07)}}
  tensors = exported.to_tensors(learned, "float32")
  bucket.pipe(f"{home}/{exported.WEIGHTS}", save(tensors))
  assert exported.is_export(home) and not exported.is_export("gs://runs/none")
  assert exported.read_config(home) == values
  assert exported.load_export(home, learned) == learned
  with pytest.raises(LoadError, match="gs://runs/none: no such file"):
    exported.load_export("gs://runs/none", learned)
