"""How many pictures a second one core prepares, of sources that are made up.

`python -m benchmarks.preparing --photographs DIR`: annotation files in the
official formats, with about as many captions, boxes and questions a picture as
the data sets have, name copies of the JPEGs of DIR. Each source is prepared
from its listing to written shards in this process; nothing is encoded anew, but
for the frames of videos. `--place /dev/shm` keeps the disk out of it.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from etils import epath

from data import pool
from data.catalog import CATALOG
from data.plan import Plan
from data.shard import write_shard

CAPTION = "two young people and a dog walk past a red car on a street"
SENTENCE = (
  "[/EN#1/people Two young people] and [/EN#2/animals a dog] walk past "
  "[/EN#3/vehicles a red car] on a street ."
)
BOX = (
  "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>99</xmax><ymax>99</ymax></bndbox>"
)
VIDEO = {"frames": 375, "size": (320, 240)}  # 15 s of 25 frames


def coco_captions(folder: Path, names: list[str]) -> None:
  """What the other sources are compared with."""
  images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
  told = [
    {"image_id": number, "caption": f"{CAPTION} {n}"}
    for number in range(len(names))
    for n in range(5)
  ]
  _dump(folder / "captions.json", {"images": images, "annotations": told})


def manifest(folder: Path, names: list[str]) -> None:
  box = {"label": "dog", "box": [9, 9, 99, 99]}
  rows = [
    {"image": f"images/{name}", "captions": [CAPTION], "objects": [box] * 3}
    for name in names
  ]
  text = "\n".join(map(json.dumps, rows))
  (folder / "train.jsonl").write_text(text)


def flickr30k(folder: Path, names: list[str]) -> None:
  said = [{"raw": f"{CAPTION} {n}"} for n in range(5)]
  rows = [{"filename": n, "split": "train", "sentences": said} for n in names]
  (folder / "images").rename(folder / "flickr30k-images")
  _dump(folder / "dataset_flickr30k.json", {"images": rows})


def flickr_entities(folder: Path, names: list[str]) -> None:
  objects = [f"<object><name>{n}</name>{BOX}</object>" for n in (1, 2, 3)]
  stems = [name.removesuffix(".jpg") for name in names]
  (folder / "images").rename(folder / "flickr30k-images")
  for place in ("Sentences", "Annotations"):
    (folder / place).mkdir()
  for stem in stems:
    (folder / "Sentences" / f"{stem}.txt").write_text(f"{SENTENCE}\n" * 5)
    (folder / "Annotations" / f"{stem}.xml").write_text(
      f"<annotation>{''.join(objects)}</annotation>"
    )
  (folder / "train.txt").write_text("\n".join(stems))


def coco_detection(folder: Path, names: list[str]) -> None:
  images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
  boxes = [
    {"image_id": n, "category_id": 1, "bbox": [9, 9, 90, 90], "area": 5000.0}
    for n in range(len(names))
    for _ in range(7)
  ]
  table = {"images": images, "annotations": boxes}
  named = [{"id": 1, "name": "dog"}]
  _dump(folder / "instances.json", {**table, "categories": named})


def vqa(folder: Path, names: list[str]) -> None:
  numbers = [(n, 10 * n + k) for n in range(len(names)) for k in range(5)]
  asked = [
    {"image_id": n, "question_id": q, "question": "What does the dog do?"}
    for n, q in numbers
  ]
  answers = [{"answer": text} for text in ["walks"] * 6 + ["runs"] * 4]
  given = [
    {"question_id": q, "answers": answers, "multiple_choice_answer": "walks"}
    for _, q in numbers
  ]
  (folder / "train2014").mkdir()
  for number, name in enumerate(names):
    picture = f"COCO_train2014_{number:012d}.jpg"
    os.link(folder / "images" / name, folder / "train2014" / picture)
  start = folder / "v2_OpenEnded_mscoco_train2014_questions.json"
  _dump(start, {"questions": asked})
  _dump(folder / "v2_mscoco_train2014_annotations.json", {"annotations": given})


def nlvr2(folder: Path, names: list[str]) -> None:
  lines = []
  pictures = folder / "images" / "train" / "7"
  pictures.mkdir(parents=True)
  for number in range(len(names) // 2):
    for side in (0, 1):
      picture = folder / "images" / names[2 * number + side]
      os.link(picture, pictures / f"train-{number}-0-img{side}.png")
    row = {"identifier": f"train-{number}-0-0", "label": "True", "directory": 7}
    lines.append(json.dumps({**row, "sentence": CAPTION}))
  (folder / "train.json").write_text("\n".join(lines))


def msrvtt(folder: Path, names: list[str]) -> None:
  """A video for every eight pictures, each a slow way over a photograph."""
  videos = [f"video{number}" for number in range(len(names) // 8)]
  (folder / "videos").mkdir()
  for video, name in zip(videos, names):
    _film(folder / "images" / name, folder / "videos" / f"{video}.mp4")
  _dump(
    folder / "MSRVTT_data.json",
    {
      "videos": [{"video_id": video} for video in videos],
      "sentences": [
        {"video_id": video, "caption": CAPTION}
        for video in videos
        for _ in range(20)
      ],
    },
  )
  test = f"video_id,sentence\n{videos[0]},{CAPTION}\n"
  (folder / "MSRVTT_JSFUSION_test.csv").write_text(test)


def _film(photograph: Path, path: Path) -> None:
  width, height = VIDEO["size"]
  pixels = cv2.imread(str(photograph))
  pixels = cv2.resize(pixels, (width + 64, height + 64))
  codec = cv2.VideoWriter_fourcc(*"mp4v")
  video = cv2.VideoWriter(str(path), codec, 25, (width, height))
  for number in range(VIDEO["frames"]):
    x, y = (int(32 + 32 * f(number / 40)) for f in (np.sin, np.cos))
    video.write(np.ascontiguousarray(pixels[y : y + height, x : x + width]))
  video.release()


def _dump(path: Path, table: dict) -> None:
  path.write_text(json.dumps(table))


WRITERS: dict[str, Callable[[Path, list[str]], None]] = {
  writer.__name__: writer
  for writer in (
    *(coco_captions, manifest, flickr30k, flickr_entities),
    *(coco_detection, vqa, nlvr2, msrvtt),
  )
}


def measure(
  name: str, photographs: list[bytes], place: Path, count: int, repeats: int
) -> dict[str, float]:
  """Prepares one source several times, after one time that is left out.

  Args:
    name: key of WRITERS.
    photographs: encoded JPEGs, used in turn.
    place: where everything is written, and removed again.
    count: pictures; of clips, frames.
    repeats: how many times.

  Returns:
    `slowest` and `fastest`, pictures a second of processor time; `pictures`
    that were written each time.
  """
  seconds = []
  with tempfile.TemporaryDirectory(dir=place) as folder:
    source = Path(folder) / "source"
    (source / "images").mkdir(parents=True)
    names = [f"{number}.jpg" for number in range(count)]
    for number, picture in enumerate(names):
      data = photographs[number % len(photographs)]
      (source / "images" / picture).write_bytes(data)
    WRITERS[name](source, names)
    kind = CATALOG[name].load()
    for number in range(repeats + 1):
      out = epath.Path(folder) / f"out{number}"
      out.mkdir()
      begin = time.process_time()
      made = kind(epath.Path(source))
      with Plan(made, name=name, folder=out, settings={}) as plan:
        for job in plan.jobs():
          write_shard(job)
      seconds.append(time.process_time() - begin)
      records = sum(
        json.loads(note.read_text())["length"]
        for note in (out / ".notes").iterdir()
      )
      out.rmtree()
  pictures = records * {"nlvr2": 2, "msrvtt": 8}.get(name, 1)
  timed = seconds[1:]
  return {
    "slowest": pictures / max(timed),
    "fastest": pictures / min(timed),
    "pictures": pictures,
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--photographs", type=Path, required=True)
  parser.add_argument("--place", type=Path, help="default: as tempfile's")
  parser.add_argument("--count", type=int, default=930, help="pictures")
  parser.add_argument("--repeats", type=int, default=5)
  options = parser.parse_args()
  paths = sorted(options.photographs.glob("*.jpg"))
  if not paths:
    parser.error(f"--photographs {options.photographs} holds no *.jpg")
  photographs = [path.read_bytes() for path in paths]
  pool.keep_pages()
  cv2.setNumThreads(1)
  for name in WRITERS:
    found = measure(
      name, photographs, options.place, options.count, options.repeats
    )
    print(
      f"{name}: {found['slowest']:,.0f} to {found['fastest']:,.0f} pictures a "
      f"second of processor time ({found['pictures']:,} pictures)"
    )


if __name__ == "__main__":
  main()
