"""Preparing from a bucket into a bucket; a memory stands for its objects."""

import json

import pytest
from etils import epath
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from data import pool, prepare, shard
from data.row import Row
from data.source import Skip
from data.sources.msrvtt import MsrVtt
from tests.data.coco_source import encoded, write_source
from tests.data.sources import test_msrvtt


class Bucket(MemoryFileSystem):
  """gs:// in memory: as gcsfs, it gives names without the protocol."""

  protocol = "gs"
  store = {}  # noqa: RUF012  of fsspec
  pseudo_dirs = [""]  # noqa: RUF012
  cachable = False

  @classmethod
  def _strip_protocol(cls, path):
    return "/" + path.removeprefix("gs://").strip("/")

  def glob(self, path, **rest):
    return [found.lstrip("/") for found in super().glob(path, **rest)]


@pytest.fixture
def bucket(monkeypatch):
  made = Bucket()
  made.store.clear()
  made.pseudo_dirs[:] = [""]
  local = backend.fsspec_backend._get_filesystem

  def choose(self, name):
    return made if name == "gcs" else local(name)

  kind = type(backend.fsspec_backend)
  monkeypatch.setattr(kind, "_get_filesystem", choose)
  return made


@pytest.fixture
def source(bucket, tmp_path):
  here = tmp_path / "source"
  write_source(
    here,
    {name: encoded(40, 30, seed) for seed, name in enumerate("abcd")},
    {name: [f"a dog {name}"] for name in "abcde"},
  )
  bucket.put(str(here), "gs://data/source", recursive=True)
  return here


def run(source, out, *more):
  options = ["--vocab-size=60", "--shards=2", "--workers=1", *more]
  return prepare.main(
    ["coco_captions", f"--source={source}", f"--out={out}", *options]
  )


def test_a_bucket_holds_what_a_directory_holds(
  bucket, source, tmp_path, monkeypatch, capsys
):
  assert run(source, tmp_path / "out") == 0
  written = []

  def interrupted(job, advance):
    if written:
      raise KeyboardInterrupt
    written.append(job)
    shard.write_shard(job, advance)

  monkeypatch.setattr(pool, "write_shard", interrupted)
  assert run("gs://data/source", "gs://data/out") == 130
  # Nothing there makes it look whole, and the next run goes on from it.
  assert not bucket.exists("gs://data/out/dataset_info.json")
  before = bucket.created("gs://data/out/" + written[0].path.name)
  monkeypatch.setattr(pool, "write_shard", shard.write_shard)
  assert run("gs://data/source", "gs://data/out") == 0
  assert bucket.created("gs://data/out/" + written[0].path.name) == before
  names = {path.removeprefix("/data/out/") for path in bucket.find("data/out")}
  here = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
  assert names == {p.relative_to(tmp_path / "out").as_posix() for p in here}
  for path in here:
    name = path.relative_to(tmp_path / "out").as_posix()
    if name != "report.json":
      assert bucket.cat(f"gs://data/out/{name}") == path.read_bytes(), name
  report = json.loads(bucket.cat("gs://data/out/report.json"))
  assert report["read"] == 5 and report["written"] == {"train": 4}
  assert report["settings"]["source"] == "gs://data/source"
  assert run("gs://data/source", "gs://data/out") == 0
  assert "already prepared" in capsys.readouterr().out


@pytest.mark.parametrize("choice", ["uniform", "random"])
def test_videos_come_from_a_bucket(bucket, tmp_path, choice):
  test_msrvtt.write(tmp_path / "source")
  bucket.put(str(tmp_path / "source"), "gs://data/videos", recursive=True)
  shards = []
  for number, source in enumerate([tmp_path / "source", "gs://data/videos"]):
    out = tmp_path / f"out{number}"
    options = [f"--source={source}", f"--out={out}", "--workers=1"]
    options += ["--frames=3", f"--frame-choice={choice}", "--vocab-size=60"]
    assert prepare.main(["msrvtt", *options]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["written"] == {"train": 2, "test": 1}
    shards.append([p.read_bytes() for p in sorted(out.glob("*array_record*"))])
  assert shards[0] == shards[1]


def test_a_video_that_a_bucket_does_not_give_is_counted(bucket, monkeypatch):
  bucket.pipe("gs://data/videos/a.mp4", b"")

  def refused(path, *rest, **more):
    raise PermissionError(path)

  monkeypatch.setattr(bucket, "_open", refused)
  source = MsrVtt(epath.Path("gs://data"))
  row = Row("a", ("a.mp4",), ("videos",), ("a dog",), clip=source.clip)
  found = list(source.read("train", json.loads(json.dumps(row._asdict()))))
  assert found == [Skip("video unreadable", "a")]
