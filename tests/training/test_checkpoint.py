"""Everything comes back bit for bit; what is broken is never trusted."""

import json
import logging
import resource
import shutil
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from slan_jax.training import sharding
from slan_jax.training.checkpoint import Checkpoints
from slan_jax.training.errors import CorruptCheckpointError, SaveError
from slan_jax.training.leaves import checksums, flat
from slan_jax.training.storage import reading
from tests.training.toy import assert_trees_equal, build, toy_batch, toy_task


@pytest.fixture(scope="module")
def toy():
  return build(toy_task())


@pytest.fixture(scope="module")
def states(toy):
  """Copies of the state after 0 to 5 steps."""
  _, _, state, step = toy
  found = []
  for index in range(6):
    found.append(jax.tree.map(lambda leaf: leaf.copy(), state))
    state, _ = step(state, toy_batch(index), index)
  return found


def save(directory: Path, states, **options) -> None:
  checkpoints = Checkpoints(directory, **options)
  for state in states:
    checkpoints.save(state, {"position": int(state.step)})
  checkpoints.close()


def spoil(checkpoint: Path, how: str) -> None:
  """Damages a written checkpoint as a full disk or a bad copy would."""
  for data in (checkpoint / "state").rglob("d/*"):
    content = bytearray(data.read_bytes())
    if how == "truncated":
      data.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
      content[len(content) // 2] ^= 0x10
      data.write_bytes(content)
  if how == "unlisted":
    (checkpoint / "state" / "_METADATA").unlink()
  elif how == "unrecorded":
    (checkpoint / "record" / "metadata").write_text("{")


def test_all_of_the_state_comes_back(tmp_path, toy, states):
  host = {"position": 4, "mean": 0.1, "skipped": {"corrupt": 2}}
  with_key = Checkpoints(tmp_path)
  with_key.save(states[4], host)
  with_key.close()
  state, restored = Checkpoints(tmp_path).restore_newest(toy[1])
  assert restored == host
  assert_trees_equal(state, states[4])
  assert state.key.dtype == states[4].key.dtype
  assert [a.sharding for a in jax.tree.leaves(state)] == [
    a.sharding for a in jax.tree.leaves(toy[1])
  ]


def test_a_donated_state_is_saved_as_it_was(tmp_path, toy, states):
  _, like, _, step = toy
  state = jax.tree.map(lambda leaf: leaf.copy(), states[0])
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state, {})
  for index in range(20):
    state, _ = step(state, toy_batch(index), index)
  checkpoints.close()
  assert_trees_equal(Checkpoints(tmp_path).restore_newest(like)[0], states[0])


def test_empty_arrays_come_back_empty(tmp_path, toy, states):
  def emptied(state):
    empty = jax.numpy.zeros((0, 3), np.int32, device=toy[1].key.sharding)
    return state._replace(carry={"queue": empty})

  save(tmp_path, [emptied(states[2])])
  state, _ = Checkpoints(tmp_path).restore_newest(emptied(toy[1]))
  assert_trees_equal(state, emptied(states[2]))


def test_other_mesh_and_parts(tmp_path, toy, states, monkeypatch):
  monkeypatch.setattr(sharding, "SMALL_BYTES", 0)
  save(tmp_path, [states[3]])
  _, like, _, _ = build(toy_task(), data=2, fsdp=4)
  reader = Checkpoints(tmp_path, read_only=True)
  assert_trees_equal(reader.restore_newest(like)[0], states[3])
  ema = reader.restore_part(3, "ema", like.ema)
  assert_trees_equal(ema, states[3].ema)
  assert ema["encoder"]["kernel"].sharding.shard_shape((8, 16)) == (2, 16)
  with pytest.raises(ValueError, match=r"no checkpoint of step 9; it has .3."):
    reader.restore_part(9, "ema", like.ema)


def test_checksums_do_not_depend_on_the_mesh(monkeypatch):
  monkeypatch.setattr(sharding, "SMALL_BYTES", 0)
  one, many = (
    build(toy_task(), data=d, fsdp=f)[2] for d, f in [(1, 1), (2, 4)]
  )
  assert checksums({"p": one.params}) == checksums({"p": many.params})
  bits = np.float32([1.0, -2.0]).view(np.uint32)
  array = jax.numpy.array([1.0, -2.0])
  assert checksums({"a": array}) == {"a": int(bits.sum(dtype=np.uint64))}


def test_newest_and_best_are_kept(tmp_path, states):
  checkpoints = Checkpoints(tmp_path, keep=2)
  for step in range(1, 6):
    checkpoints.save(states[step], {})
    checkpoints.record_score(step, {2: 7.0, 3: 5.0}.get(step, 1.0))
  checkpoints.close()
  again = Checkpoints(tmp_path, read_only=True)
  assert again.steps() == [2, 4, 5]
  assert again.best() == 2


@pytest.mark.parametrize(
  "how", ["truncated", "flipped", "unlisted", "unrecorded"]
)
def test_broken_newest_gives_way_loudly(tmp_path, toy, states, caplog, how):
  save(tmp_path, [states[2], states[4]], keep=3)
  Checkpoints(tmp_path).record_score(4, 1.0)
  spoil(tmp_path / "4", how)
  checkpoints = Checkpoints(tmp_path, keep=3)
  with caplog.at_level(logging.WARNING):
    state, host = checkpoints.restore_newest(toy[1])
  assert "checkpoint 4" in caplog.text and "falling back" in caplog.text
  assert host == {"position": 2}
  assert_trees_equal(state, states[2])
  assert (tmp_path / "4.corrupt").is_dir() and checkpoints.best() is None
  checkpoints.save(states[4], {})  # the same step can be written again
  checkpoints.close()
  assert_trees_equal(Checkpoints(tmp_path).restore_newest(toy[1])[0], states[4])


def test_a_step_may_break_again(tmp_path, toy, states):
  """What was set aside stays, and the run starts all the same."""
  save(tmp_path, [states[2], states[4]], keep=3)
  for times in range(3):
    spoil(tmp_path / "4", "truncated")
    checkpoints = Checkpoints(tmp_path, keep=3)
    assert checkpoints.restore_newest(toy[1])[1] == {"position": 2}
    checkpoints.save(states[4], {"position": 4})
    checkpoints.close()
    aside = {path.name for path in tmp_path.glob("*.corrupt*")}
    names = ["4.corrupt", "4.corrupt.1", "4.corrupt.2"]
    assert aside == {*names[: times + 1]}
  last = Checkpoints(tmp_path, keep=3)
  assert last.steps() == [2, 4]
  assert last.restore_newest(toy[1])[1] == {"position": 4}


def test_half_written_newest_is_invisible(tmp_path, toy, states):
  save(tmp_path, [states[2], states[4]], keep=3)
  (tmp_path / "4").rename(tmp_path / "4.orbax-checkpoint-tmp-17")
  assert Checkpoints(tmp_path).restore_newest(toy[1])[1] == {"position": 2}


def test_all_broken_is_an_error_and_none_is_a_start(tmp_path, toy, states):
  assert Checkpoints(tmp_path / "new").restore_newest(toy[1]) is None
  save(tmp_path / "old", [states[2]])
  spoil(tmp_path / "old" / "2", "truncated")
  with pytest.raises(CorruptCheckpointError, match=r"none of .*steps \[2\]"):
    Checkpoints(tmp_path / "old").restore_newest(toy[1])


def test_another_model_is_not_called_corrupt(tmp_path, toy, states):
  save(tmp_path, [states[2]])
  shapes = toy[1].params | {
    "head": {"kernel": jax.ShapeDtypeStruct((9, 9), "f4")}
  }
  other = toy[1]._replace(params=shapes)
  with pytest.raises(ValueError, match=r"another model: params/head/kernel"):
    Checkpoints(tmp_path).restore_newest(other)
  assert (tmp_path / "2").is_dir()


def test_a_step_is_asked_once_what_it_holds(tmp_path, states, monkeypatch):
  save(tmp_path, [states[2]])
  checkpoints, asked = Checkpoints(tmp_path), []
  look = checkpoints._manager.item_metadata
  monkeypatch.setattr(
    checkpoints._manager,
    "item_metadata",
    lambda step: asked.append(step) or look(step),
  )
  held = checkpoints.shapes(2, "params")
  like = flat(states[2].params)
  assert {n: (x.shape, x.dtype) for n, x in held.items()} == {
    n: (x.shape, x.dtype) for n, x in like.items()
  }
  checkpoints.restore_part(2, "params", states[2].params)
  assert asked == [2]
  checkpoints.save(states[4], {})  # it may overwrite what was known
  checkpoints.shapes(2, "params")
  checkpoints.close()
  assert asked == [2, 2]


def test_unreadable_scores_are_dropped(tmp_path, caplog):
  (tmp_path / "scores.json").write_text(json.dumps([1]))
  with caplog.at_level(logging.WARNING):
    assert Checkpoints(tmp_path).best() is None
  assert "scores.json is unreadable" in caplog.text


@pytest.fixture
def no_room():
  """Files cannot grow beyond 200 bytes, as on a disk that is full."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  logging.getLogger("absl").setLevel(logging.CRITICAL)  # as the jobs do
  yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
  resource.setrlimit(resource.RLIMIT_FSIZE, before)
  logging.getLogger("absl").setLevel(logging.NOTSET)


def test_a_full_disk_loses_nothing(tmp_path, toy, states, no_room):
  save(tmp_path, [states[2]])
  checkpoints = Checkpoints(tmp_path)
  no_room()
  with pytest.raises(
    SaveError, match=r"checkpoint 4 .*\(File too large\); checkpoint 2 is kept"
  ):
    checkpoints.save(states[4], {})
    checkpoints.wait()
  assert Checkpoints(tmp_path).restore_newest(toy[1])[1] == {"position": 2}


def test_a_failed_save_is_noticed_without_waiting(tmp_path, states, no_room):
  checkpoints = Checkpoints(tmp_path)
  no_room()
  checkpoints.save(states[1], {})
  deadline = time.monotonic() + 60
  with pytest.raises(SaveError, match=r"checkpoint 1 .*there is no other"):
    while time.monotonic() < deadline:
      checkpoints.check()
      time.sleep(0.01)


def test_a_vanished_directory_is_told(tmp_path, states):
  checkpoints = Checkpoints(tmp_path / "gone")
  shutil.rmtree(tmp_path / "gone")
  message = r"checkpoint 1 cannot .*\(No such file or directory\)"
  with pytest.raises(SaveError, match=message):
    checkpoints.save(states[1], {})


def test_devices_and_processes_are_not_called_corrupt(tmp_path, monkeypatch):
  def fail(number):
    raise jax.errors.JaxRuntimeError("UNAVAILABLE: a process is gone")

  with pytest.raises(jax.errors.JaxRuntimeError), reading(tmp_path, 1):
    fail(1)
  # What another process cannot read is not trusted here either.
  monkeypatch.setattr(jax, "process_count", lambda: 3)
  monkeypatch.setattr(
    "slan_jax.training.storage.multihost_utils.process_allgather",
    lambda mine: np.array([mine, 0, 1]),
  )
  with (
    pytest.raises(CorruptCheckpointError, match="process 2 cannot read it"),
    reading(tmp_path, 1),
  ):
    pass
