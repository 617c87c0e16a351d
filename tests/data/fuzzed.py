"""Damaged files of every source that can be prepared.

Each function is a stream without an end: it damages the files of a small whole
source below `root` by `rng`, and yields the source with the least number of
records that reading it has to count, unless it says that a file is cut short.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from etils import epath
from PIL import Image

from data.clip import Clip
from data.source import Example, Source
from data.sources import img2dataset
from data.sources.archive import read_samples
from data.sources.coco_captions import CocoCaptions
from data.sources.coco_detection import CocoDetection
from data.sources.flickr30k import Flickr30k
from data.sources.flickr_entities import FlickrEntities
from data.sources.manifest import Manifest
from data.sources.msrvtt import MsrVtt
from data.sources.nlvr2 import Nlvr2
from data.sources.visual_genome import VisualGenome
from data.sources.vqa import Vqa
from data.sources.web import Cc3m, Cc12m, Sbu
from tests.data.coco_source import encoded, write_source
from tests.data.damage import damaged, junk_lines, junk_table, with_junk
from tests.data.sources.reading import put
from tests.data.sources.test_flickr30k import entry as flickr_entry
from tests.data.sources.test_flickr_entities import ANNOTATIONS, SENTENCES
from tests.data.sources.test_nlvr2 import line as statement
from tests.data.sources.test_vqa import answered, question
from tests.data.test_clip import write_video
from tests.data.web_source import (
  facts,
  make_rows,
  parquet_bytes,
  row_members,
  tar_bytes,
)

Stream = Iterator[tuple[Source, int]]
COUNT = 30  # records of a source
PICTURE = encoded(12, 9)


class Given(Source):
  """One item, whose records a function gives."""

  def __init__(self, records):
    super().__init__()
    self.records = records

  def items(self):
    yield "train", 0

  def read(self, split, item):
    yield from self.records()


def saved(kind: str, mode: str, **options) -> bytes:
  buffer = io.BytesIO()
  Image.effect_noise((12, 9), 60).convert(mode).save(buffer, kind, **options)
  return buffer.getvalue()


def pictures(rng: Random, root: Path) -> Stream:
  """What every source shares: the files of the pictures themselves."""
  del root
  kinds = [
    PICTURE,
    saved("JPEG", "CMYK"),
    saved("JPEG", "RGB", progressive=True),
    *(saved("PNG", "RGBA"), saved("PNG", "P"), saved("GIF", "L")),
    *(saved("WEBP", "RGB"), saved("BMP", "RGB"), saved("TIFF", "I;16")),
  ]
  while True:
    rows = [
      Example(f"{number}", damaged(rng, kinds[number % len(kinds)]), ["x"])
      for number in range(90)
    ]
    yield Given(lambda rows=rows: rows), len(rows)


def tar(rng: Random, root: Path) -> Stream:
  del root
  whole = tar_bytes(row_members(make_rows(10)))
  while True:
    data = damaged(rng, whole)

    def records(data=data):
      for row in read_samples(io.BytesIO(data), "0.tar"):
        yield (
          row if hasattr(row, "reason") else img2dataset.sample_example("", row)
        )

    yield Given(records), 10


def parquet(rng: Random, root: Path) -> Stream:
  del root
  whole = parquet_bytes(make_rows(10), group=5)
  while True:
    data = damaged(rng, whole)
    yield (
      Given(
        lambda data=data: img2dataset.read_parquet(io.BytesIO(data), "0", "")
      ),
      10,
    )


def fetched_files(rng: Random, root: Path) -> Stream:
  """img2dataset's third layout, with the table of what it did."""
  rows = make_rows(COUNT, lost=tuple(range(0, COUNT, 5)))
  table = parquet_bytes([facts(row) for row in rows])
  members = row_members(rows)
  for name, data in members:
    put(root / "00000" / name, data)
  while True:
    for name, data in rng.sample(members, 8):
      put(root / "00000" / name, damaged(rng, data))
    damage = damaged(rng, table) if rng.random() < 0.5 else table
    put(root / "00000.parquet", damage)
    yield Cc12m(epath.Path(root)), COUNT
    for name, data in members:
      put(root / "00000" / name, data)


def numbered_pictures(root: Path, names: list[str]) -> None:
  for name in names:
    put(root / name, PICTURE)


def _table(rng: Random, root: Path, kind: type[Source], swapped: bool):
  names = [f"images/{number:09d}.jpg" for number in range(COUNT)]
  numbered_pictures(root, names)
  rows = [(f"text {n}", f"http://x/{n}") for n in range(COUNT)]
  lines = ["\t".join(row[::-1] if swapped else row) for row in rows]
  whole = "".join(f"{line}\n" for line in lines).encode()
  while True:
    data = damaged(rng, whole)
    put(root / ("cc12m.tsv" if swapped else "train.tsv"), data)
    if data:
      yield kind(epath.Path(root)), len(data.removesuffix(b"\n").split(b"\n"))


def cc3m(rng: Random, root: Path) -> Stream:
  yield from _table(rng, root, Cc3m, swapped=False)


def cc12m(rng: Random, root: Path) -> Stream:
  yield from _table(rng, root, Cc12m, swapped=True)


def sbu(rng: Random, root: Path) -> Stream:
  numbered_pictures(root, [f"images/{n:09d}.jpg" for n in range(COUNT)])
  table = {
    "image_urls": [f"http://x/{n}.jpg" for n in range(COUNT)],
    "captions": [f"text {n}" for n in range(COUNT)],
  }
  while True:
    put(root / "sbu-captions-all.json", junk_table(rng, table).encode())
    yield Sbu(epath.Path(root)), COUNT


def coco_captions(rng: Random, root: Path) -> Stream:
  names = [f"{number}.jpg" for number in range(COUNT)]
  write_source(
    root,
    dict.fromkeys(names, PICTURE),
    {name: ["a dog", "a cat"] for name in names},
    {name: [(1, [1, 2, 3, 4], 0)] for name in names},
    size=(12, 9),
  )
  paths = [root / "captions.json", root / "instances.json"]
  tables = [json.loads(path.read_text()) for path in paths]
  while True:
    for path, table in zip(paths, tables):
      path.write_text(junk_table(rng, table))
    yield CocoCaptions(epath.Path(root)), COUNT


def karpathy(rng: Random, root: Path) -> Stream:
  """COCO's captions by Karpathy's list."""
  rows = [
    {**flickr_entry(n, "restval"), "filepath": "val2014", "cocoid": n}
    for n in range(COUNT)
  ]
  numbered_pictures(root, [f"val2014/{n}.jpg" for n in range(COUNT)])
  while True:
    put(root / "dataset_coco.json", junk_table(rng, {"images": rows}).encode())
    yield CocoCaptions(epath.Path(root)), COUNT


def visual_genome(rng: Random, root: Path) -> Stream:
  numbered_pictures(root, [f"images/{n}.jpg" for n in range(COUNT)])
  rows, facts_of = [], []
  for number in range(COUNT):
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "phrase": "a dog"}
    rows.append({"id": number, "regions": [box, {**box, "phrase": "a cat"}]})
    size = {"width": 12, "height": 9, "coco_id": None}
    url = f"http://x/{number}.jpg"
    facts_of.append({"image_id": number, "url": url, **size})
  tables = (("region_descriptions", rows), ("image_data", facts_of))
  while True:
    for name, table in tables:
      made = [with_junk(rng, row) for row in table]
      text = json.dumps(made).replace(str(10**30), "1e30")
      # Neither is JSON, though Python writes it.
      text = text.replace("NaN", "null").replace("Infinity", "1e9")
      (root / f"{name}.json").write_text(text)
    yield VisualGenome(epath.Path(root)), COUNT


def flickr30k(rng: Random, root: Path) -> Stream:
  numbered_pictures(root, [f"images/{n}.jpg" for n in range(COUNT)])
  rows = [flickr_entry(number, "train") for number in range(COUNT)]
  path = root / "dataset_flickr30k.json"
  while True:
    put(path, junk_table(rng, {"images": rows}).encode())
    yield Flickr30k(epath.Path(root)), COUNT


def flickr_entities(rng: Random, root: Path) -> Stream:
  names = [str(number) for number in range(COUNT)]
  numbered_pictures(root, [f"images/{name}.jpg" for name in names])
  head = '<?xml version="1.0" encoding="utf-8"?>\n'
  texts = (("Sentences", "txt", SENTENCES), ("Annotations", "xml", ANNOTATIONS))
  while True:
    for folder, ending, text in texts:
      for name in names:
        data = ((head if ending == "xml" else "") + text).encode()
        damage = damaged(rng, data) if rng.random() < 0.5 else data
        put(root / folder / f"{name}.{ending}", damage)
    listed = "\n".join(names).encode()
    listed = damaged(rng, listed) if rng.random() < 0.3 else listed
    put(root / "train.txt", listed)
    yield (
      FlickrEntities(epath.Path(root)),
      sum(
        bool(line.decode("utf-8", "replace").strip())
        for line in listed.split(b"\n")
      ),
    )


def coco_detection(rng: Random, root: Path) -> Stream:
  names = [f"{number}.jpg" for number in range(COUNT)]
  write_source(
    root,
    dict.fromkeys(names, PICTURE),
    {name: [] for name in names},
    {name: [(1, [1, 2, 3, 4], 0)] * 2 for name in names},
    size=(12, 9),
  )
  path = root / "instances.json"
  table = json.loads(path.read_text())
  while True:
    path.write_text(junk_table(rng, table))
    yield CocoDetection(epath.Path(root)), COUNT


def vqa(rng: Random, root: Path) -> Stream:
  numbered_pictures(
    root, [f"train2014/COCO_train2014_{n:012d}.jpg" for n in range(COUNT)]
  )
  asked = [question(n, n, f"What is {n}?") for n in range(COUNT)]
  given = [answered(n, n, ["dog"] * 9 + ["cat"]) for n in range(COUNT)]
  tables = (
    ("v2_OpenEnded_mscoco_train2014_questions.json", {"questions": asked}),
    ("v2_mscoco_train2014_annotations.json", {"annotations": given}),
  )
  while True:
    for name, table in tables:
      put(root / name, junk_table(rng, table).encode())
    # Questions of one picture are one record: damage may bring some together.
    source = Vqa(epath.Path(root))
    source.answer_count = 1
    yield source, COUNT - 3


def nlvr2(rng: Random, root: Path) -> Stream:
  rows = []
  for number in range(COUNT):
    start = f"dev-{number}-0"
    rows.append(json.loads(statement(f"{start}-0")))
    names = [f"images/dev/{start}-img{side}.png" for side in (0, 1)]
    numbered_pictures(root, names)
  while True:
    put(root / "dev.json", junk_lines(rng, rows))
    yield Nlvr2(epath.Path(root)), COUNT


def msrvtt(rng: Random, root: Path) -> Stream:
  root.mkdir(parents=True)
  video = Path(write_video(root / "a.mp4", 4, (16, 16))).read_bytes()
  names = [f"video{number}" for number in range(COUNT)]
  table = {
    "videos": [{"video_id": name, "id": n} for n, name in enumerate(names)],
    "sentences": [{"video_id": v, "caption": f"a {v}"} for v in names],
  }
  rows = [f"ret{n},msr{n},video{n},a  grey clip\n" for n in range(5)]
  test = "key,vid_key,video_id,sentence\n"
  while True:
    for name in names:
      data = damaged(rng, video) if rng.random() < 0.5 else video
      put(root / "videos" / f"{name}.mp4", data)
    put(root / "MSRVTT_data.json", junk_table(rng, table).encode())
    listed = damaged(rng, "".join(rows).encode())
    put(root / "MSRVTT_JSFUSION_test.csv", test.encode() + listed)
    source = MsrVtt(epath.Path(root))
    source.clip = Clip(2, "uniform", 0)
    yield source, COUNT


def manifest(rng: Random, root: Path) -> Stream:
  numbered_pictures(root, [f"{n}.jpg" for n in range(COUNT)])
  box = [2, 2, 9, 8]
  rows = [
    {
      "image": f"{n}.jpg",
      "id": f"p{n}",
      "captions": ["a red dog", "a cat"],
      "phrases": [{"text": "a red dog", "span": [0, 9], "boxes": [box]}],
      "objects": [{"label": "dog", "box": box, "crowd": False}],
      "questions": [{"question": "which?", "answers": ["red", "the red one"]}],
    }
    for n in range(COUNT)
  ]
  path = root / "my.jsonl"
  while True:
    path.write_bytes(junk_lines(rng, rows))
    yield Manifest(epath.Path(path)), COUNT - 1


def csv_table(rng: Random, root: Path) -> Stream:
  numbered_pictures(root, [f"{n}.jpg" for n in range(COUNT)])
  lines = "".join(f"{n}.jpg,a dog,train\n" for n in range(COUNT)).encode()
  path = root / "my.csv"
  while True:
    data = damaged(rng, lines)
    path.write_bytes(b"image,caption,split\n" + data)
    rows = [
      line.split(",") for line in data.decode("utf-8", "replace").split("\n")
    ]
    # Lines of one picture are one record, and a quote may join lines.
    names = {row[0] for row in rows if any(field.strip() for field in row)}
    yield Manifest(epath.Path(path)), 0 if b'"' in data else len(names)


def folder(rng: Random, root: Path) -> Stream:
  while True:
    for number in range(COUNT):
      data = damaged(rng, PICTURE) if rng.random() < 0.3 else PICTURE
      put(root / f"{number}.jpg", data)
      put(root / f"{number}.txt", damaged(rng, b"a red dog\na cat\n"))
    yield Manifest(epath.Path(root)), COUNT


STREAMS = {
  stream.__name__: stream
  for stream in (
    *(pictures, tar, parquet, fetched_files),
    *(cc3m, cc12m, sbu, coco_captions, karpathy, visual_genome),
    *(flickr30k, flickr_entities, coco_detection, vqa, nlvr2, msrvtt),
    *(manifest, csv_table, folder),
  )
}
