"""Every name of the catalog, from files of its exact format to a loaded record.

Each writer makes a small source below `folder` and returns what the report has
to say: records written by split, and the reasons of those left out.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import prepare
from data.catalog import CATALOG
from slan_jax.input.source import EvaluationSource, TrainingSource
from tests.data.coco_source import encoded, write_source
from tests.data.sources import (
  test_coco_detection,
  test_flickr30k,
  test_flickr_entities,
  test_msrvtt,
  test_nlvr2,
  test_visual_genome,
  test_vqa,
)
from tests.data.sources.reading import dump, put
from tests.data.web_source import make_rows, write_webdataset

DRAWN = {"train": 8, "val": 8, "test": 8}
PICTURE = encoded(40, 30)


def coco_captions(folder: Path):
  files = {"train2017": ("a.jpg", "b.jpg"), "val2017": ("c.jpg",)}
  for number, (tag, names) in enumerate(files.items()):
    write_source(
      folder,
      dict.fromkeys(names, PICTURE),
      {name: ["a dog runs", "a cat"] for name in (*names, f"gone-{tag}.jpg")},
      {name: [(90, [1, 2, 3, 4], 0)] for name in names},
      tag=tag,
      first=100 * number,
    )
  return {"train": 2, "val": 1}, {"image missing": 2}


def visual_genome(folder: Path):
  test_visual_genome.write(folder)
  return {"train": 2}, {"also in COCO": 2, "no caption": 1}


def sbu(folder: Path):
  urls = [f"http://static.flickr.com/27/{n}_b0f2.jpg" for n in (11, 12, 13)]
  start = folder / "SBU_captioned_photo_dataset"
  put(start.with_name(f"{start.name}_urls.txt"), "\n".join(urls).encode())
  texts = b"a cat\na dog \na cow"
  put(start.with_name(f"{start.name}_captions.txt"), texts)
  for number in (11, 12):
    put(folder / "images" / f"{number}_b0f2.jpg", PICTURE)
  return {"train": 2}, {"image missing": 1}


def cc3m(folder: Path):
  row = "a dog number {}\thttp://example.com/{}.jpg\n"
  tables = {
    ("Train_GCC-training.tsv", "training"): 3,
    ("Validation_GCC-1.1.0-Validation.tsv", "validation"): 1,
  }
  for (table, pictures), count in tables.items():
    rows = [row.format(number, number) for number in range(count)]
    put(folder / table, "".join(rows).encode())
    for number in range(min(count, 2)):
      put(folder / pictures / f"{number:09d}.jpg", PICTURE)
  return {"train": 2, "val": 1}, {"image missing": 1}


def cc12m(folder: Path):
  write_webdataset(folder, "00000", make_rows(3, lost=(1,)))
  write_webdataset(folder, "00001", make_rows(2, first=10_000))
  return {"train": 4}, {"not downloaded": 1}


def manifest(folder: Path):
  rows = [
    {"image": "a.jpg", "captions": ["a dog"]},
    {"image": "b.jpg", "caption": "a cat", "split": "val"},
    {"image": "gone.jpg", "caption": "a cow"},
  ]
  for name in ("a.jpg", "b.jpg"):
    put(folder / name, PICTURE)
  put(folder / "train.jsonl", "\n".join(map(json.dumps, rows)).encode())
  return {"train": 1, "val": 1}, {"image missing": 1}


def flickr30k(folder: Path):
  splits = ("train", "train", "val", "test")
  rows = [test_flickr30k.entry(n, split) for n, split in enumerate(splits)]
  table = {"images": rows, "dataset": "flickr30k"}
  dump(folder / "dataset_flickr30k.json", table)
  for number in (0, 2, 3):
    put(folder / "flickr30k-images" / f"{number}.jpg", PICTURE)
  return {"train": 1, "val": 1, "test": 1}, {"image missing": 1}


def flickr_entities(folder: Path):
  test_flickr_entities.write(folder, ("7", "8"), "train")
  test_flickr_entities.write(folder, ("9", "10"), "test")
  (folder / "Sentences" / "10.txt").unlink()
  lost = {"sentences missing or not UTF-8": 1}
  return {"train": 2, "test": 1}, lost


def coco_detection(folder: Path):
  for tag, numbers in (("train2017", (5, 6)), ("val2017", (7, 8))):
    box = test_coco_detection.box(numbers[0], 90, [10, 15, 20, 15])
    test_coco_detection.write(folder, [box], tag, numbers)
  (folder / "train2017" / f"{6:012d}.jpg").unlink()
  return {"train": 1, "val": 2}, {"image missing": 1}


def vqa(folder: Path):
  for tag, image in (("train2014", 5), ("val2014", 6)):
    rows = [test_vqa.question(10 * image + n, image) for n in range(2)]
    given = [
      test_vqa.answered(row["question_id"], image, ["yes"] * 10) for row in rows
    ]
    test_vqa.write(folder, rows, given, tag)
  test_vqa.write(folder, [test_vqa.question(1, 7, "")], tag="test2015")
  return {"train": 1, "val": 1}, {"question without text": 1}


def nlvr2(folder: Path):
  images = folder / "images"
  test_nlvr2.pictures(images / "train" / "72", "train-1-0")
  test_nlvr2.pictures(images / "dev", "dev-2-0")
  lines = [
    test_nlvr2.line(name, directory=72)
    for name in ("train-1-0-0", "train-1-0-1", "train-3-0-0")
  ]
  put(folder / "train.json", "\n".join(lines).encode())
  put(folder / "dev.json", test_nlvr2.line("dev-2-0-0", "False").encode())
  return {"train": 2, "val": 1}, {"image missing": 1}


def msrvtt(folder: Path):
  folder.mkdir()
  test_msrvtt.write(folder)
  return {"train": 2, "test": 1}, {"video missing": 1}


WRITERS = {
  writer.__name__: writer
  for writer in (
    *(coco_captions, visual_genome, sbu, cc3m, cc12m, manifest),
    *(flickr30k, flickr_entities, coco_detection, vqa, nlvr2, msrvtt),
  )
}


@pytest.mark.parametrize("name", CATALOG)
def test_a_source_becomes_a_directory_that_loads(name, tmp_path):
  out = tmp_path / "out"
  options = ["--out", out, "--workers", 1]
  if CATALOG[name].drawn:
    written, skipped = DRAWN, {}
    for split, size in DRAWN.items():
      options += [f"--{split}-size", size]
  else:
    written, skipped = WRITERS[name](tmp_path / "in")
    options += ["--source", tmp_path / "in", "--vocab-size", 60]
  assert prepare.main([name, *map(str, options)]) == 0
  report = json.loads((out / "report.json").read_text())
  kept = {split: n for split, n in report["written"].items() if n}
  lost = {reason: row["count"] for reason, row in report["skipped"].items()}
  assert (kept, lost) == (written, skipped)
  assert report["read"] == sum(written.values()) + sum(skipped.values())
  builder = tfds.builder_from_directory(out)
  for split, count in written.items():
    assert len(builder.as_data_source(split)) == count
    train, scored = TrainingSource(out, split), EvaluationSource(out, split)
    for number in range(count):
      record = train[number]
      assert scored[number].record.id == record.id
      pixels = cv2.imdecode(np.frombuffer(record.image, np.uint8), 1)
      assert pixels.shape[1::-1] == record.size
  assert (out / "tokenizer" / "tokenizer.json").is_file()
