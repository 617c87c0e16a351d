import json

from data import report


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
  made = report.Report()
  made.count_read(1200)
  made.count_written("train")
  made.skip("image corrupt", "a.jpg")
  assert made.lines() == [
    "read 1,200, wrote 1 train",
    "skipped 1 (image corrupt): a.jpg",
  ]


def test_a_directory_is_complete_until_a_file_changes(tmp_path):
  (tmp_path / "sub").mkdir()
  (tmp_path / "sub" / "shard").write_bytes(b"12345")
  report.write_report(tmp_path, report.Report(read=3), {"name": "scenes"})
  read = report.read_report(tmp_path)
  assert read["files"] == {"sub/shard": 5}
  assert read["read"] == 3 and read["settings"] == {"name": "scenes"}
  assert report.is_complete(tmp_path, read)
  (tmp_path / "sub" / "shard").write_bytes(b"1234")
  assert not report.is_complete(tmp_path, read)
  (tmp_path / "sub" / "shard").unlink()
  assert not report.is_complete(tmp_path, read)


def test_no_report_where_there_is_none_to_read(tmp_path):
  assert report.read_report(tmp_path) is None
  (tmp_path / report.FILE).write_text("{")
  assert report.read_report(tmp_path) is None
  (tmp_path / report.FILE).write_text(json.dumps({"settings": 1}))
  assert report.read_report(tmp_path) == {"settings": 1}
