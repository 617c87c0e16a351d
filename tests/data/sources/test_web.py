import json
import zlib

import pytest
from etils import epath

from data.errors import PreparationError
from data.sources.web import Cc3m, Cc12m, Sbu
from tests.data.coco_source import encoded
from tests.data.reading import counts, read_source
from tests.data.web_source import (
  make_rows,
  tar_bytes,
  write_files,
  write_parquet,
  write_webdataset,
)

LAYOUTS = [write_webdataset, write_files, write_parquet]


def read(kind, root):
  return read_source(kind(epath.Path(root)))


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda write: write.__name__)
def test_every_layout_of_img2dataset_gives_the_same(tmp_path, write):
  write(tmp_path, "00000", make_rows(3, lost=(1,)))
  write(tmp_path, "00001", make_rows(2, first=10_000))
  records, report = read(Cc12m, tmp_path)
  assert [record["captions"] for record in records["train"]] == [
    [f"picture {number}"] for number in (0, 2, 10_000, 10_001)
  ]
  assert records["train"][1]["id"] == "train/00000/000000002"
  assert records["train"][1]["image"] == encoded(40, 30, 2)
  assert counts(report) == {"not downloaded": 1}
  assert report.skipped["not downloaded"]["first"] == ["train/00000/000000001"]


def test_a_folder_among_the_files_costs_its_own_sample(tmp_path):
  write_files(tmp_path, "00000", make_rows(3))
  (tmp_path / "00000" / "000000001.jpg").unlink()
  (tmp_path / "00000" / "000000001.jpg").mkdir()
  records, report = read(Cc12m, tmp_path)
  assert len(records["train"]) == 2 and counts(report) == {"image missing": 1}


def test_folders_are_splits(tmp_path):
  write_webdataset(tmp_path / "train", "00000", make_rows(2))
  write_webdataset(tmp_path / "validation", "00000", make_rows(1))
  records, _ = read(Cc3m, tmp_path)
  assert [r["id"] for r in records["val"]] == ["val/00000/000000000"]
  assert len(records["train"]) == 2


def test_captions_come_from_either_file_of_a_sample(tmp_path):
  good = encoded(40, 30)
  members = [
    ("a.jpg", good),
    ("a.json", json.dumps({"caption": "from json"}).encode()),
    ("b.webp", good),
    ("b.json", b"{"),
    ("c.json", b'{"caption": "no picture"}'),
    ("d.JPG", good),
    ("d.txt", b"caf\xe9"),
    ("d.json", b'{"caption": "not this"}'),
    ("a.jpg", good),
    ("a.txt", b"a second a"),
  ]
  (tmp_path / "00000.tar").write_bytes(tar_bytes(members))
  records, report = read(Cc3m, tmp_path)
  texts = [record["captions"] for record in records["train"]]
  assert texts == [["from json"], ["caf"], ["a second a"]]
  assert counts(report) == {"no caption": 1, "image missing": 1}


@pytest.mark.parametrize("swapped", [False, True])
def test_tables_with_fetched_files(tmp_path, swapped):
  urls = [f"http://example.com/{number}/image.jpg" for number in range(6)]
  captions = [f"picture {number}" for number in range(6)]
  rows = [*zip(urls, captions)] if swapped else [*zip(captions, urls)]
  lines = ["\t".join(row) for row in rows]
  lines[3] += "\tmine/three.jpg"
  lines[4] = "no address"
  lines[5] += "\t../../etc/passwd"
  name = "cc12m.tsv" if swapped else "Train_GCC-training.tsv"
  (tmp_path / name).write_text("\r\n".join(lines) + "\n")
  (tmp_path / "training").mkdir()
  (tmp_path / "images" / "mine").mkdir(parents=True)
  check = zlib.crc32(urls[1].encode())
  for place in (
    "images/000000000.jpg",
    f"training/1_{check}",
    "images/mine/three.jpg",
  ):
    (tmp_path / place).write_bytes(encoded(40, 30))
  records, report = read(Cc12m if swapped else Cc3m, tmp_path)
  assert {r["id"]: r["captions"] for r in records["train"]} == {
    "train/000000000": ["picture 0"],
    "train/000000001": ["picture 1"],
    "train/000000003": ["picture 3"],
  }
  assert counts(report) == {
    "image missing": 1,
    "row without an address": 1,
    "path leaves the source": 1,
  }


def test_long_tables_are_read_in_pieces(tmp_path, monkeypatch):
  monkeypatch.setattr("data.sources.web._CHUNK", 3)
  lines = [f"picture {n}\thttp://example.com/{n}.jpg" for n in range(7)]
  path = tmp_path / "Validation_GCC-1.1.0-Validation.tsv"
  path.write_text("caption\turl\n" + "\n".join(lines))
  (tmp_path / "images").mkdir()
  for number in range(8):
    place = tmp_path / "images" / f"{number:09d}.jpg"
    place.write_bytes(encoded(40, 30))
  source = Cc3m(epath.Path(tmp_path))
  assert [item["first"] for _, item in source.items()] == [0, 3, 6]
  records, report = read_source(source)
  assert [r["captions"] for r in records["val"]] == [
    [f"picture {number}"] for number in range(7)
  ]
  assert report.read == 7  # the head of the table is no record


@pytest.mark.parametrize("whole", [True, False], ids=["json", "text"])
def test_sbu(tmp_path, whole):
  urls = [f"http://static.flickr.com/27/{n}_b0f2.jpg" for n in (11, 12)]
  captions = ["a cat", "a dog "]
  if whole:
    table = {"image_urls": urls, "captions": captions, "user_ids": [1, 2]}
    (tmp_path / "sbu-captions-all.json").write_text(json.dumps(table))
  else:
    start = tmp_path / "SBU_captioned_photo_dataset"
    for kind, lines in (("urls", urls), ("captions", captions)):
      start.with_name(f"{start.name}_{kind}.txt").write_text(
        "\n".join(lines) + "\n"
      )
  (tmp_path / "images").mkdir()
  (tmp_path / "images" / "12_b0f2.jpg").write_bytes(encoded(40, 30))
  records, report = read(Sbu, tmp_path)
  assert [r["captions"] for r in records["train"]] == [["a dog"]]
  assert counts(report) == {"image missing": 1}
  if not whole:
    with start.with_name(f"{start.name}_urls.txt").open("a") as file:
      file.write("http://example.com/more.jpg\n")
    with pytest.raises(PreparationError, match="line by line"):
      read(Sbu, tmp_path)


@pytest.mark.parametrize(
  ("kind", "names"),
  [
    (Cc12m, ("cc12m_0.tsv", "cc12m_1.tsv")),
    (Cc3m, ("Train_GCC-training.tsv", "train.tsv")),
  ],
)
def test_two_tables_of_a_split_are_refused(tmp_path, kind, names):
  """Both would count their rows from 0, and meet the same pictures."""
  (tmp_path / "images").mkdir()
  (tmp_path / "images" / "000000000.jpg").write_bytes(encoded(40, 30))
  for name in names:
    (tmp_path / name).write_text(f"text of {name}\thttp://example.com/{name}\n")
  with pytest.raises(PreparationError, match=f"{names[0]}, {names[1]}.*join"):
    read(kind, tmp_path)
  (tmp_path / names[1]).unlink()
  if kind is Cc3m:  # one table of each split is as it should be
    (tmp_path / "val.tsv").write_text("a dog\thttp://example.com/0\n")
  records, _ = read(kind, tmp_path)
  assert records.pop("train")[0]["captions"] == [f"text of {names[0]}"]
  assert list(records) == (["val"] if kind is Cc3m else [])


@pytest.mark.parametrize("kind", [Sbu, Cc3m, Cc12m])
def test_a_source_without_anything_known_is_refused(tmp_path, kind):
  with pytest.raises(PreparationError, match="holds neither"):
    read(kind, tmp_path)
  with pytest.raises(PreparationError, match="not a directory"):
    read(kind, tmp_path / "nowhere")


def test_a_damaged_sbu_table_is_refused(tmp_path):
  (tmp_path / "sbu-captions-all.json").write_text('{"image_urls": [1]}')
  with pytest.raises(PreparationError, match="not SBU's"):
    read(Sbu, tmp_path)
