"""Ten thousand damaged records: no crash, no reader that fails, no loss.

Damage is drawn from a fixed seed. Everything is small and most of it stays in
memory, so that the whole takes seconds.
"""

import collections
import io
import json
import random

import pytest
from etils import epath
from PIL import Image

from data.report import Report
from data.shard import Job, read_records
from data.source import Example, Source
from data.sources import img2dataset
from data.sources.archive import read_samples
from data.sources.coco_captions import CocoCaptions
from data.sources.visual_genome import VisualGenome
from data.sources.web import Cc3m
from tests.data.coco_source import encoded, write_source
from tests.data.reading import read_source
from tests.data.web_source import (
  make_rows,
  parquet_bytes,
  row_members,
  tar_bytes,
)

PICTURE = encoded(12, 9)
JUNK = [
  *(None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x"),
  *(
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\x1b[31m",
    "é" * 3000,
  ),
  *([], [1], [None] * 5, {}, {"a": []}, [1e308] * 4, [5, 5, -3, -4]),
]


def damaged(rng: random.Random, data: bytes) -> bytes:
  """A few bytes changed, cut off, put in, repeated or blanked."""
  made = bytearray(data)
  for _ in range(rng.randint(1, 4)):
    start = rng.randrange(len(made) + 1)
    stop = min(len(made), start + rng.choice((1, 2, 8, 64, 600)))
    match rng.randrange(6):
      case 0:
        made[start:stop] = rng.randbytes(stop - start)
      case 1:
        del made[start:stop]
      case 2:
        made[start:start] = rng.randbytes(rng.choice((1, 7, 512)))
      case 3:
        made[start:start] = made[start:stop]
      case 4:
        made[start:stop] = bytes(stop - start)
      case 5 if rng.random() < 0.2:
        del made[start:]
  return bytes(made)


def with_junk(rng: random.Random, value):
  """A copy in which some values are replaced by junk."""
  if rng.random() < 0.03:
    return rng.choice(JUNK)
  if isinstance(value, dict):
    return {
      key: with_junk(rng, row)
      for key, row in value.items()
      if rng.random() > 0.01
    }
  if isinstance(value, list):
    return [with_junk(rng, row) for row in value]
  return value


class Given(Source):
  """One item, whose records a function gives."""

  def __init__(self, records):
    super().__init__()
    self.records = records

  def items(self):
    yield "train", 0

  def read(self, split, item):
    yield from self.records()


def run(source: Source) -> Report:
  """Reads everything; a failed reader fails the test."""
  _, report = read_source(source)
  return checked(report)


def checked(report: Report) -> Report:
  failed = [reason for reason in report.skipped if "failed" in reason]
  assert failed == [], report.skipped
  assert report.balances()
  return report


def saved(kind, mode, **options) -> bytes:
  buffer = io.BytesIO()
  Image.effect_noise((12, 9), 60).convert(mode).save(buffer, kind, **options)
  return buffer.getvalue()


def pictures(rng) -> int:
  kinds = [
    PICTURE,
    saved("JPEG", "CMYK"),
    saved("JPEG", "RGB", progressive=True),
    saved("PNG", "RGBA"),
    saved("PNG", "P"),
    saved("GIF", "L"),
    saved("WEBP", "RGB"),
    saved("BMP", "RGB"),
    saved("TIFF", "I;16"),
  ]
  made = [damaged(rng, kinds[number % len(kinds)]) for number in range(3_600)]
  rows = [Example(f"{n}", data, ["x"]) for n, data in enumerate(made)]
  report = run(Given(lambda: rows))
  assert report.read == len(rows) and report.written
  return report.read


def archives(rng) -> int:
  whole = tar_bytes(row_members(make_rows(10)))
  read = 0
  for _ in range(200):
    data = damaged(rng, whole)

    def records(data=data):
      for row in read_samples(io.BytesIO(data), "0.tar"):
        yield (
          row if hasattr(row, "reason") else img2dataset.sample_example("", row)
        )

    report = run(Given(records))
    kept = sum(report.written.values())
    assert kept >= 10 or report.skipped, "a sample vanished"
    read += report.read
  return read


def tables(rng) -> int:
  whole = parquet_bytes(make_rows(10), group=5)
  read = 0
  for _ in range(150):
    data = damaged(rng, whole)
    report = run(
      Given(
        lambda data=data: img2dataset.read_parquet(io.BytesIO(data), "0", "")
      )
    )
    assert sum(report.written.values()) >= 10 or report.skipped
    read += report.read
  return read


def lines(rng, root) -> int:
  (root / "images").mkdir(parents=True)
  for number in range(100):
    (root / "images" / f"{number:09d}.jpg").write_bytes(PICTURE)
  whole = "".join(f"text {n}\thttp://x/{n}\n" for n in range(100)).encode()
  read = 0
  for _ in range(25):
    (root / "train.tsv").write_bytes(data := damaged(rng, whole))
    report = run(Cc3m(epath.Path(root)))
    assert report.read == len(data.removesuffix(b"\n").split(b"\n"))
    read += report.read
  return read


def annotations(rng, root) -> int:
  """COCO's tables, with boxes."""
  names = [f"{number}.jpg" for number in range(30)]
  write_source(
    root,
    dict.fromkeys(names, PICTURE),
    {name: ["a dog", "a cat"] for name in names},
    {name: [(1, [1, 2, 3, 4], 0)] for name in names},
    size=(12, 9),
  )
  read = 0
  paths = [root / "captions.json", root / "instances.json"]
  tables = [json.loads(path.read_text()) for path in paths]
  for _ in range(40):
    for path, table in zip(paths, tables):
      junk = {name: [with_junk(rng, r) for r in table[name]] for name in table}
      path.write_text(json.dumps(junk))
    report = run(CocoCaptions(epath.Path(root)))
    assert report.read >= 30
    read += report.read
  return read


def regions(rng, root) -> int:
  """Visual Genome's tables."""
  (root / "images").mkdir(parents=True)
  rows, facts = [], []
  for number in range(30):
    (root / "images" / f"{number}.jpg").write_bytes(PICTURE)
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "phrase": "a dog"}
    rows.append({"id": number, "regions": [box, {**box, "phrase": "a cat"}]})
    size = {"width": 12, "height": 9, "coco_id": None}
    facts.append({"image_id": number, "url": f"http://x/{number}.jpg", **size})
  read = 0
  for _ in range(40):
    for name, table in (("region_descriptions", rows), ("image_data", facts)):
      made = [with_junk(rng, row) for row in table]
      text = json.dumps(made).replace(str(10**30), "1e30")
      # Neither is JSON, though Python writes it.
      text = text.replace("NaN", "null").replace("Infinity", "1e9")
      (root / f"{name}.json").write_text(text)
    report = run(VisualGenome(epath.Path(root)))
    assert report.read == 30
    read += report.read
  return read


def test_ten_thousand_damaged_records(tmp_path):
  rng = random.Random(0)
  read = collections.Counter(
    pictures=pictures(rng),
    archives=archives(rng),
    tables=tables(rng),
    lines=lines(rng, tmp_path / "lines"),
    annotations=annotations(rng, tmp_path / "coco"),
    regions=regions(rng, tmp_path / "genome"),
  )
  assert read.total() >= 10_000, read


def test_a_reader_that_fails_is_counted():
  def broken():
    yield Example("a", PICTURE, ["x"])
    raise ZeroDivisionError

  _, report = read_source(Given(broken))
  assert report.skipped["reader failed: ZeroDivisionError"]["count"] == 1
  with pytest.raises(AssertionError):
    checked(report)
  job = Job(Given(lambda: [Example("a", PICTURE, 3)]), "t", [], *[None] * 4)
  assert list(read_records(job, 0, report)) == []
  assert report.skipped["reader failed: TypeError"]["count"] == 1
