import json

import pytest
from etils import epath

from data import report


@pytest.fixture
def folder(tmp_path):
  return epath.Path(tmp_path)


def test_skips_are_counted_and_the_first_are_named():
  made = report.Report()
  for number in range(8):
    made.skip("image corrupt", f"{number}.jpg")
  made.skip("no caption", "x.jpg")
  entry = made.skipped["image corrupt"]
  assert entry["count"] == 8
  assert entry["first"] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
  assert made.skipped["no caption"] == {"count": 1, "first": ["x.jpg"]}


def test_lines_say_what_happened():
  made = report.Report(read=1198)
  made.write("train")
  made.skip("image corrupt", "a.jpg")
  made.repair("box: clipped", "b.jpg")
  assert made.lines() == [
    "read 1,200, wrote 1 train",
    "skipped 1 (image corrupt): a.jpg",
    "repaired 1 (box: clipped): b.jpg",
  ]


def test_names_can_be_printed():
  made = report.Report()
  made.skip("image missing", "a\ud800\x1b[31m é.jpg")
  assert made.skipped["image missing"]["first"] == ["a\ufffd\ufffd[31m é.jpg"]


def test_a_sum_of_reports_balances():
  made, more = report.Report(), report.Report()
  made.write("train")
  made.skip("no caption", "a")
  more.write("val")
  more.write("train")
  for number in range(6):
    more.skip("no caption", f"b{number}")
  more.withdraw("train", "duplicate id", "c")
  made.add(more)
  assert made.read == 10 and made.written == {"train": 1, "val": 1}
  assert made.skipped["no caption"]["count"] == 7
  assert made.skipped["no caption"]["first"] == ["a", "b0", "b1", "b2", "b3"]
  assert made.balances()
  made.read += 1
  assert not made.balances()


def test_a_directory_is_complete_until_a_file_changes(folder):
  (folder / "sub").mkdir()
  (folder / "sub" / "shard").write_bytes(b"12345")
  report.write_report(folder, report.Report(read=3), {"name": "scenes"})
  read = report.read_report(folder)
  assert read["files"] == {"sub/shard": 5}
  assert read["read"] == 3 and read["settings"] == {"name": "scenes"}
  assert report.is_complete(folder, read)
  (folder / "sub" / "shard").write_bytes(b"1234")
  assert not report.is_complete(folder, read)
  (folder / "sub" / "shard").unlink()
  assert not report.is_complete(folder, read)


def test_no_report_where_there_is_none_to_read(folder):
  assert report.read_report(folder) is None
  (folder / report.FILE).write_text("{")
  assert report.read_report(folder) is None
  (folder / report.FILE).write_text(json.dumps({"settings": 1}))
  assert report.read_report(folder) == {"settings": 1}
