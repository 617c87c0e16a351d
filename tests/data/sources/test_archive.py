import io
import tarfile

import pyarrow.parquet as pq
import pytest

from data.source import Skip
from data.sources import archive, img2dataset
from tests.data.web_source import make_rows, parquet_bytes, row_members
from tests.data.web_source import tar_bytes as pack

WHOLE = pack(row_members(make_rows(4)))


def read(data):
  found = list(archive.read_samples(io.BytesIO(data), "00000.tar"))
  samples = [row for row in found if not isinstance(row, Skip)]
  return samples, [row for row in found if isinstance(row, Skip)]


def test_files_that_share_a_name_are_a_sample():
  samples, skips = read(WHOLE)
  assert skips == []
  assert [sample.key for sample in samples] == [f"{n:09d}" for n in range(4)]
  assert all({*sample.files} == {"jpg", "txt", "json"} for sample in samples)
  members = [("b/x.jpg", b"1"), ("c/x.jpg", b"2"), ("c/x.seg.PNG", b"3")]
  samples, _ = read(pack(members))
  assert samples == [
    ("x", {"jpg": b"1"}),
    ("x", {"jpg": b"2", "seg.png": b"3"}),
  ]


def block(number):
  """Where the header of a member begins."""
  with tarfile.open(fileobj=io.BytesIO(WHOLE)) as opened:
    return opened.getmembers()[number].offset


@pytest.mark.parametrize(
  ("data", "whole"),
  [
    (WHOLE[: block(3)], 1),  # exactly between two members
    (WHOLE[: block(3) + 100], 1),  # within a header
    (WHOLE[: block(3) + 700], 1),  # within a file
    (WHOLE[: block(3)] + b"x" * 512 + WHOLE[block(3) + 512 :], 1),
    (WHOLE[: block(3)] + bytes(512) + WHOLE[block(3) + 512 :], 1),
    (WHOLE + WHOLE, 1),
  ],
  ids=["between", "header", "file", "damaged", "blanked", "joined"],
)
def test_a_cut_is_one_loss_that_is_told(data, whole):
  samples, skips = read(data)
  assert skips == [Skip("tar cut short", "00000.tar")]
  assert [sample.key for sample in samples][:whole] == ["000000000"]


@pytest.mark.parametrize("data", [b"", b"no tar", b"\x1f\x8b" + bytes(600)])
def test_what_is_no_archive(data):
  assert read(data) == ([], [Skip("tar unreadable", "00000.tar")])


def linked(kind, name="link.jpg", target="/etc/passwd"):
  member = tarfile.TarInfo(name)
  member.type, member.linkname = kind, target
  return member


@pytest.mark.parametrize(
  ("member", "reason"),
  [
    ("../../evil.jpg", "path leaves the archive"),
    ("/etc/evil.jpg", "path leaves the archive"),
    (linked(tarfile.SYMTYPE), "link or device in the archive"),
    (linked(tarfile.LNKTYPE), "link or device in the archive"),
    (linked(tarfile.CHRTYPE), "link or device in the archive"),
    (linked(tarfile.SYMTYPE, "../x.jpg"), "path leaves the archive"),
  ],
)
def test_what_would_leave_the_archive_is_left_out(member, reason):
  samples, (skip,) = read(pack([(member, b"12"), ("a.jpg", b"good")]))
  assert skip.reason == reason
  assert samples == [("a", {"jpg": b"good"})]


def test_an_oversized_member_is_passed_over(monkeypatch):
  monkeypatch.setattr(archive, "MOST_BYTES", 1_000)
  data = pack([("a.jpg", bytes(1_001)), ("b.jpg", b"good")])
  samples, (skip,) = read(data)
  assert skip == ("file over 64 MiB in the archive", "a.jpg")
  assert [sample.key for sample in samples] == ["b"]


def test_a_size_that_is_a_lie_is_a_cut():
  header = tarfile.TarInfo("a.jpg")
  header.size = 10**7
  samples, skips = read(header.tobuf() + bytes(1024))
  assert samples == [] and skips[0].reason == "tar cut short"


def test_folders_are_no_files():
  folder = tarfile.TarInfo("deep")
  folder.type = tarfile.DIRTYPE
  samples, skips = read(pack([(folder, b""), ("deep/a.jpg", b"1")]))
  assert (len(samples), skips) == (1, [])


def table(data):
  found = list(img2dataset.read_parquet(io.BytesIO(data), "0.parquet", "t/"))
  return found, [row for row in found if isinstance(row, Skip)]


def test_a_parquet_file_cut_off_is_unreadable():
  data = parquet_bytes(make_rows(4))
  assert table(data[:-9]) == ([Skip("parquet unreadable", "0.parquet")],) * 2


def test_damage_costs_the_rest_of_a_row_group():
  data = bytearray(parquet_bytes(make_rows(6), group=2))
  place = data.index(make_rows(1, first=2)[0]["jpg"]) - 40
  data[place : place + 40] = b"\xff" * 40  # the head of a page
  found, skips = table(bytes(data))
  assert skips == [Skip("parquet cut short", "0.parquet, row 2")]
  keys = [row.name for row in found if row not in skips]
  assert keys == [f"t/{n:09d}" for n in (0, 1, 4, 5)]


def test_a_footer_that_has_lost_groups_is_a_cut(monkeypatch):
  class Short(pq.ParquetFile):
    num_row_groups = 1

  monkeypatch.setattr(pq, "ParquetFile", Short)
  found, skips = table(parquet_bytes(make_rows(6), group=2))
  assert skips == [Skip("parquet cut short", "0.parquet, row 2")]
  assert len(found) == 3


def test_rows_without_a_picture():
  rows = make_rows(2)
  rows[0]["jpg"] = None
  rows[1] = {"key": "x", "caption": "no status", "jpg": None}
  _, skips = table(parquet_bytes(rows))
  assert skips == [
    Skip("image missing", "t/000000000"),
    Skip("image missing", "t/x"),
  ]
  assert table(parquet_bytes([{"caption": "x"}]))[0] == [
    Skip("image missing", "t/row 0")
  ]
