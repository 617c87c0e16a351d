"""Finished chunks come back, in every process, and only to their own key."""

import numpy as np
import pytest

from slan_jax.evaluation import partial
from slan_jax.evaluation.partial import Partial, digest

SIZES = [2, 0, 3]
FIRST = np.array([-0.0, np.nan], np.float32)
LAST = np.array([1.5, 2.5, 3.5], np.float32)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
  monkeypatch.setattr(partial, "_PAUSE", 0)


def written(folder, key="k"):
  kept = Partial(folder, key, seconds=0)
  stage = kept.stage("pairs", SIZES, "other")
  assert stage.take(0) is None
  stage.add(2, LAST)
  stage.add(0, FIRST)
  assert len(kept.files()) == 2
  return kept


def taken(kept, sizes=SIZES, name="pairs", *decides):
  stage = kept.stage(name, sizes, *(decides or ("other",)))
  return [stage.take(chunk) for chunk in range(len(sizes))]


def test_chunks_come_back_bit_for_bit_and_once(tmp_path):
  written(tmp_path)
  stage = Partial(tmp_path, "k").stage("pairs", SIZES, "other")
  found = stage.take(0)
  assert found.tobytes() == FIRST.tobytes() and stage.take(0) is None
  assert stage.take(1) is None
  np.testing.assert_array_equal(stage.take(2), LAST)


def test_another_stage_has_none_of_them(tmp_path):
  written(tmp_path)
  kept = Partial(tmp_path, "k")
  assert taken(kept, [2, 1, 3]) == [None] * 3
  assert taken(kept, SIZES, "first") == [None] * 3
  assert taken(kept, SIZES, "pairs", "what decides") == [None] * 3
  assert len(kept.files()) == 2


def test_those_of_another_key_are_removed_with_a_message(tmp_path, caplog):
  written(tmp_path)
  kept = Partial(tmp_path, "changed")
  assert "parts of an evaluation of other parameters" in caplog.text
  assert kept.files() == [] and taken(kept) == [None] * 3
  caplog.clear()
  assert taken(Partial(tmp_path, "changed")) == [None] * 3
  assert not caplog.records  # it is its own now


def test_writes_are_few(tmp_path, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(partial.time, "monotonic", lambda: now[0])
  write = partial.write_atomically

  def slow(path, content):
    now[0] += 10
    write(path, content)

  monkeypatch.setattr(partial, "write_atomically", slow)
  monkeypatch.setattr(partial, "_PAUSE", 20)
  kept = Partial(tmp_path, "k", seconds=30)
  stage = kept.stage("pairs", [1] * 500)
  held = []
  for chunk in range(500):
    now[0] += 1
    stage.add(chunk, np.float32([chunk]))
    held.append(len(kept.files()))
  # After 30 s; then twenty times as long as a write takes.
  assert held.index(1) == 29 and held.index(2) == 29 + 200
  assert held[-1] == 3
  found = Partial(tmp_path, "k").stage("pairs", [1] * 500)
  assert found.take(429) == 429 and found.take(499) is None


def test_a_damaged_file_is_scored_again(tmp_path, caplog):
  kept = written(tmp_path)
  kept.files()[0].write_bytes(b"PK cut short")
  found = taken(Partial(tmp_path, "k"))
  assert found[2] is None and found[0].tobytes() == FIRST.tobytes()
  assert "000000-pairs" in caplog.text and "scored again" in caplog.text


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(ValueError, match=r"cannot be written.*another --output"):
    Partial(tmp_path / "file" / "partial", "k")


def test_a_full_disk_costs_no_score(tmp_path, monkeypatch, caplog):
  kept = Partial(tmp_path, "k", seconds=0)
  stage = kept.stage("pairs", SIZES, "other")
  write = partial.write_atomically

  def full(path, content):
    raise OSError("No space left on device")

  monkeypatch.setattr(partial, "write_atomically", full)
  stage.add(0, FIRST)
  stage.add(1, FIRST[:0])
  assert caplog.text.count("No space left") == 1  # not at every chunk
  monkeypatch.setattr(partial, "write_atomically", write)
  stage.add(2, LAST)  # there is room again: nothing was lost
  np.testing.assert_array_equal(taken(Partial(tmp_path, "k"))[2], LAST)
  assert taken(Partial(tmp_path, "k"))[0].tobytes() == FIRST.tobytes()


def test_other_processes_are_told_and_write_nothing(tmp_path, monkeypatch):
  written(tmp_path / "first")
  monkeypatch.setattr(partial, "_BLOCK", 2)  # values in several pieces
  told = []

  def tell(array):
    told.append(array.copy())
    return array

  taken(Partial(tmp_path / "first", "k", share=tell))
  assert len(told) == 1 + 3

  def learn(array):
    own = told.pop(0)
    assert (own.shape, own.dtype) == (array.shape, array.dtype)
    return own

  other = Partial(tmp_path / "other", "k", first=False, share=learn, seconds=0)
  stage = other.stage("pairs", SIZES, "other")
  assert stage.take(0).tobytes() == FIRST.tobytes() and not told
  np.testing.assert_array_equal(stage.take(2), LAST)
  stage.add(0, FIRST)
  assert other.files() == [] and not (tmp_path / "other").exists()


def test_digests_tell_values_shapes_and_types_apart():
  array = np.arange(6, dtype=np.int32)
  parts = [
    (array,), (array.reshape(2, 3),), (array.astype(np.int64),), (b"ab", b"c"),
    (b"a", b"bc"), ({"a": 1},), ({"a": 2},), (),
  ]  # fmt: skip
  assert len({digest(*part) for part in parts}) == len(parts)
  assert digest(array[::2]) == digest(array[::2].copy())
