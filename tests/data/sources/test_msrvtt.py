import pytest
from etils import epath

from data.clip import Clip
from data.errors import PreparationError
from data.sources.msrvtt import MsrVtt
from tests.data.sources.reading import dump, read
from tests.data.test_clip import levels, write_video


def write(folder, videos=4):
  sentences = [
    {"sen_id": 2 * n + m, "video_id": f"video{n}", "caption": f"clip {n} {m}"}
    for n in range(videos)
    for m in range(2)
  ]
  rows = [
    {
      "category": 9,
      "url": "u",
      "video_id": f"video{n}",
      "start time": 137.72,
      "end time": 149.44,
      "split": "train",
      "id": n,
    }
    for n in range(videos)
  ]
  dump(
    folder / "MSRVTT_data.json",
    {"info": {}, "videos": rows, "sentences": sentences},
  )
  (folder / "MSRVTT_JSFUSION_test.csv").write_text(
    "key,vid_key,video_id,sentence\nret0,msr1,video1,a  grey clip\n"
  )
  (folder / "videos").mkdir()
  for number in range(videos - 1):
    write_video(folder / "videos" / f"video{number}.mp4", 8)
  source = MsrVtt(epath.Path(folder))
  source.clip = Clip(4, "uniform", 0)
  return source


def test_a_clip_is_its_first_frame_and_the_others(tmp_path):
  records, lost = read(write(tmp_path))
  assert lost == [("video missing", "video3")]
  assert list(records["train"]) == ["video0", "video2"]
  assert records["train"]["video2"]["captions"] == ["clip 2 0", "clip 2 1"]
  (test,) = records["test"].values()
  assert test["captions"] == ["a grey clip"]
  frames = [(data, None) for data in test["more_images"]["image"]]
  assert levels([(test["image"], None), *frames]) == pytest.approx(
    [0, 20, 40, 60], abs=4
  )
  assert test["more_images"]["width"].tolist() == [64] * 3


def test_the_list_of_9k_decides_where_there_is_one(tmp_path):
  source = write(tmp_path)
  (tmp_path / "MSRVTT_train.9k.csv").write_text("video_id\nvideo2\n\nvideo1\n")
  assert [row.name for row in source.listing().splits["train"]] == ["video2"]


def test_broken_lines_cost_themselves_alone(tmp_path):
  source = write(tmp_path)
  path = tmp_path / "MSRVTT_JSFUSION_test.csv"
  line = b"ret0,msr1,video1,a clip\n"
  path.write_bytes(
    b"key,vid_key,video_id,sentence\nret1\nret2,m,v\xff,a\n"
    + line
    + b'ret3,m,v,"'
    + b"x" * 140_000
    + b"\n"
  )
  listing = source.listing()
  assert [row.name for row in listing.splits["test"]] == ["video1"]
  assert listing.problems == [
    ("line is not UTF-8", f"{path.name}:3"),
    ("incomplete line", f"{path.name}:2"),
    ("line is not a row of a table", f"{path.name}:5"),
  ]


def test_missing_files_are_named(tmp_path):
  source = write(tmp_path, 2)
  table = tmp_path / "MSRVTT_JSFUSION_test.csv"
  table.write_text("video_id;sentence\nvideo1;a clip\n")
  with pytest.raises(PreparationError, match="no column sentence, video_id"):
    source.listing()
  table.unlink()
  with pytest.raises(PreparationError, match="list of 1k-A"):
    source.listing()
