import argparse
import pickle

import pytest
from etils import epath

from data import packing, shard
from data.errors import PreparationError, Unusable
from data.parts import part_features, statement_fields
from data.plan import Plan
from data.report import Report
from data.row import StatementRow
from data.source import (
  Example,
  Skip,
  Source,
  at_least,
  read_file,
  stated_size,
)
from tests.data.coco_source import encoded

GOOD = encoded(40, 30)


class Listed(Source):
  """Yields what its items say; one of them breaks."""

  def __init__(self, rows):
    super().__init__()
    self.rows = rows

  def items(self):
    yield from self.rows

  def read(self, split, item):
    for name in item:
      if name == "skip":
        yield Skip("left out", name)
      elif name == "unusable":
        raise Unusable("tar cut short")
      elif name == "bug":
        raise ZeroDivisionError
      else:
        yield Example(name, GOOD, [f"about {name}"])


ROWS = [
  ("train", ["a", "skip", "b"]),
  ("train", ["c", "unusable", "never"]),
  ("train", ["bug"]),
  ("val", ["d"]),
  ("train", ["a", "e", "e"]),
]


def plan(tmp_path, rows=ROWS, **options):
  settings = options.pop("settings", {})
  folder = epath.Path(tmp_path)
  return Plan(
    Listed(rows), name="made", folder=folder, settings=settings, **options
  )


def write_all(jobs):
  for job in jobs:
    shard.write_shard(pickle.loads(pickle.dumps(job)))


def test_everything_read_is_written_or_counted(tmp_path):
  with plan(tmp_path, shards=2) as made:
    assert made.totals == {"train": 4, "val": 1}
    packed = packing.pack(made, write_all)
    assert packing.captions(made) == [
      f"about {n}" for n in ("a", "b", "c", "e")
    ]
    packing.finish(made, packed, {})
  report = packed.report
  assert report.read == 10 and report.written == {"train": 4, "val": 1}
  assert report.balances()
  counts = {key: row["count"] for key, row in report.skipped.items()}
  assert counts == {
    "left out": 1,
    "tar cut short": 1,
    "reader failed: ZeroDivisionError": 1,
    "duplicate id": 2,  # one within a shard, one across two
  }
  assert sorted(report.skipped["duplicate id"]["first"]) == ["a", "e"]
  assert packed.lengths == {"train": [3, 1], "val": [1]}
  names = {path.name for path in tmp_path.iterdir()}
  assert ".notes" not in names and "report.json" in names


def test_the_first_of_a_name_stays_and_a_second_pass_finds_nothing(tmp_path):
  with plan(tmp_path, shards=4) as made:
    packing.pack(made, write_all)
    before = {p: p.read_bytes() for p in tmp_path.glob("made*")}
    packed = packing.pack(made, write_all)
  assert {p: p.read_bytes() for p in tmp_path.glob("made*")} == before
  assert packed.lengths["train"] == [2, 1, 0, 1]


def test_a_shard_is_kept_only_for_the_same_request(tmp_path):
  def keys(**options):
    with plan(tmp_path, **options) as made:
      return [job.key for job in made.jobs()]

  assert keys() == keys()
  assert keys() != keys(settings={"seed": 1})
  assert keys(shards=1)[0] != keys(shards=2)[0]
  changed = [("train", ["z"]), *ROWS[1:]]
  before, after = keys(shards=4), keys(shards=4, rows=changed)
  assert [a == b for a, b in zip(before, after)] == [False, *[True] * 4]


@pytest.mark.parametrize("damage", ["cut", "gone", "note"])
def test_a_damaged_shard_is_written_again(tmp_path, damage):
  with plan(tmp_path, rows=ROWS[:1]) as made:
    write_all(made.jobs())
    (job,) = made.jobs()
    whole = job.path.read_bytes()
    if damage == "cut":
      job.path.write_bytes(whole[:-1])
    elif damage == "gone":
      job.path.unlink()
    else:
      job.note.write_text("{")
    assert shard.read_note(job) is None
    write_all(made.jobs())
  assert job.path.read_bytes() == whole


def test_a_failed_write_leaves_nothing(tmp_path):
  target = epath.Path(tmp_path / "shard")
  with pytest.raises(OSError), shard.replaced(target) as path:
    path.write_bytes(b"half")
    raise OSError
  assert list(tmp_path.iterdir()) == []


def test_stale_shards_are_removed(tmp_path):
  with plan(tmp_path, shards=4) as made:
    packing.pack(made, write_all)
  with plan(tmp_path, shards=1) as made:
    packing.finish(made, packing.pack(made, write_all), {})
  names = sorted(path.name for path in tmp_path.glob("made*"))
  assert names == [
    "made-train.array_record-00000-of-00001",
    "made-val.array_record-00000-of-00001",
  ]


def test_nothing_listed_and_nothing_usable_are_refused(tmp_path):
  with pytest.raises(PreparationError, match="nothing to read"):
    plan(tmp_path, rows=[])
  with (
    plan(tmp_path, rows=[("val", ["skip"])]) as made,
    pytest.raises(PreparationError, match=r"'val' has no usable .*left out"),
  ):
    packing.pack(made, write_all)


def test_a_missing_shard_is_never_overlooked(tmp_path):
  with (
    plan(tmp_path) as made,
    pytest.raises(PreparationError, match="not written whole"),
  ):
    packing.pack(made, lambda jobs: None)


@pytest.mark.parametrize(
  ("name", "reason"),
  [
    ("../secret", "path leaves"),
    ("a/../../secret", "path leaves"),
    ("/etc/passwd", "path leaves"),
    ("..\\secret", "path leaves"),
    ("C:\\secret", "path leaves"),
    ("gs://bucket/x", "path leaves"),
    ("", "without a name"),
    ("a\0b", "without a name"),
    (None, "without a name"),
    ("none.jpg", "image missing"),
    ("folder", "image missing"),
    ("x" * 5000, "image unreadable"),
  ],
)
def test_names_from_annotations_stay_in_the_source(tmp_path, name, reason):
  root = epath.Path(tmp_path / "source")
  (root / "folder").mkdir(parents=True)
  (tmp_path / "secret").write_bytes(b"secret")
  with pytest.raises(Unusable, match=reason):
    read_file(root, name)


def test_a_file_is_found_in_the_first_folder_that_has_it(tmp_path):
  root = epath.Path(tmp_path)
  for folder in ("b", "c"):
    (root / folder).mkdir()
    (root / folder / "x").write_bytes(folder.encode())
  assert read_file(root, "x", ["a", "b", "c"]) == b"b"


def test_numbers_of_annotations_and_options():
  assert stated_size([40, "30"]) == (40, 30)
  for size in (None, [1], [0, 4], ["x", 4], [float("inf"), 4]):
    assert stated_size(size) is None
  assert at_least(1)("7") == 7
  with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
    at_least(1)("0")


def test_hashes_of_names_are_stable():
  assert shard.name_hash("a") == shard.name_hash("a") != shard.name_hash("b")
  assert Report().balances()


def test_a_field_that_cannot_be_stored_costs_its_record(tmp_path):
  class Odd(Listed):
    def fields(self):
      return part_features(["statements"])

    def read(self, split, item):
      for found in super().read(split, item):
        said = [StatementRow(item[0], True, "g")]
        yield found._replace(extra=statement_fields(said))

  rows = [("train", ["a"]), ("train", ["b\ud800"]), ("train", ["c"])]
  made = Plan(Odd(rows), name="made", folder=epath.Path(tmp_path), settings={})
  with made:
    (job,) = made.jobs()
    shard.write_shard(job)
  note = shard.read_note(job)
  assert note.length == 2 and note.report.balances()
  assert note.report.skipped == {
    "reader failed: UnicodeEncodeError": {"count": 1, "first": ["b"]}
  }
