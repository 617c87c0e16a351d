"""Directories that appear whole or not at all."""

import pytest

from slan_jax.interop.directory import written_whole

EXPORT = '{"model_type": "slan"}'


def write(output, text=EXPORT, force=False):
  with written_whole(output, force=force) as partial:
    assert not (output / "config.json").exists() or force
    (partial / "config.json").write_text(text)


def names(directory):
  return sorted(path.name for path in directory.iterdir())


def test_it_appears_whole(tmp_path):
  output = tmp_path / "made" / "out"
  write(output)
  assert names(output) == ["config.json"] and names(output.parent) == ["out"]
  assert output.stat().st_mode & 0o777 == 0o755


def test_an_error_leaves_nothing_and_what_was_there(tmp_path):
  output = tmp_path / "out"
  write(output)
  for force in (True, False):
    target = output if force else tmp_path / "other"
    with (
      pytest.raises(RuntimeError),
      written_whole(target, force=force) as part,
    ):
      (part / "half").write_text("half")
      raise RuntimeError
  assert names(tmp_path) == ["out"] and names(output) == ["config.json"]


def test_only_force_replaces_and_only_an_export(tmp_path):
  output = tmp_path / "out"
  write(output)
  (output / "old").write_text("")
  with pytest.raises(FileExistsError, match="--force replaces"):
    write(output)
  write(output, force=True)
  assert names(output) == ["config.json"] and names(tmp_path) == ["out"]

  (output / "config.json").write_text("{}")
  with pytest.raises(FileExistsError, match="no export"):
    write(output, force=True)
  file = tmp_path / "file"
  file.write_text("mine")
  with pytest.raises(FileExistsError, match="no export"):
    write(file, force=True)
  assert file.read_text() == "mine"


def test_an_empty_directory_is_free(tmp_path):
  (tmp_path / "out").mkdir()
  write(tmp_path / "out")
  assert names(tmp_path / "out") == ["config.json"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(OSError, match="file"):
    write(tmp_path / "file" / "out")
  assert names(tmp_path) == ["file"]
