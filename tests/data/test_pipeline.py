"""Needs apache-beam, whose versions differ from the lock: `make test-beam`."""

import sys

import pytest

import data
from data import prepare
from tests.data.coco_source import encoded, write_source
from tests.data.test_prepare import digests


@pytest.fixture
def arguments(tmp_path):
  source = tmp_path / "source"
  names = [f"{number}.jpg" for number in range(7)]
  write_source(
    source,
    {name: encoded(40, 30, seed) for seed, name in enumerate(names[:-1])},
    {name: [f"a dog {name}"] for name in names},
  )
  start = ["coco_captions", f"--source={source}", "--vocab-size=60"]
  return [*start, "--shards=3", "--workers=1"]


def test_beam_writes_what_a_local_run_writes(arguments, tmp_path):
  pytest.importorskip("apache_beam", reason="run by make test-beam")
  for name, more in (("here", []), ("beam", ["--runner=DirectRunner"])):
    assert prepare.main([*arguments, f"--out={tmp_path / name}", *more]) == 0
  assert digests(tmp_path / "here") == digests(tmp_path / "beam")
  assert {path.name for path in tmp_path.iterdir()} == {
    *("here", "beam", "source")
  }


def test_without_beam_a_runner_is_refused(
  arguments, tmp_path, monkeypatch, capsys
):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  monkeypatch.delitem(sys.modules, "data.pipeline", raising=False)
  monkeypatch.delattr(data, "pipeline", raising=False)
  out = f"--out={tmp_path / 'out'}"
  assert prepare.main([*arguments, out, "--runner=DirectRunner"]) == 2
  assert "needs Apache Beam" in capsys.readouterr().err


def test_options_of_a_pipeline_need_a_runner(arguments, capsys):
  with pytest.raises(SystemExit):
    prepare.main([*arguments, "--out=x", "--region=europe-west4"])
  assert "--region" in capsys.readouterr().err
