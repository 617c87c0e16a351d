"""A directory in COCO's format with a few made-up pictures."""

import json
from pathlib import Path

import cv2
import numpy as np


def encoded(width: int, height: int, seed: int = 0, ending=".jpg") -> bytes:
  """A picture of smooth noise."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
  picture = cv2.resize(coarse, (width, height))
  return cv2.imencode(ending, picture)[1].tobytes()


def write_source(
  directory: Path,
  images: dict[str, bytes],
  captions: dict[str, list[str]],
  boxes: dict[str, list] | None = None,
  *,
  tag: str = "",
  size: tuple[int, int] = (40, 30),
  first: int = 100,
) -> None:
  """Writes captions, boxes and pictures; ids count on from the first."""
  ending = f"_{tag}.json" if tag else ".json"
  folder = directory / (tag or "images")
  folder.mkdir(parents=True, exist_ok=True)
  names = sorted({*images, *captions})
  numbers = {name: first + place for place, name in enumerate(names)}
  for name, data in images.items():
    (folder / name).write_bytes(data)
  table = {
    "images": [
      {"id": n, "file_name": name, "width": size[0], "height": size[1]}
      for name, n in numbers.items()
    ],
    "annotations": [
      {"image_id": numbers[name], "caption": text}
      for name, texts in captions.items()
      for text in texts
    ],
  }
  (directory / f"captions{ending}").write_text(json.dumps(table))
  if boxes is not None:
    # COCO's category numbers have gaps.
    table["categories"] = [
      {"id": 1, "name": "person"},
      {"id": 90, "name": "dog"},
    ]
    table["annotations"] = [
      {
        "image_id": numbers[name],
        "category_id": category,
        "bbox": box,
        "iscrowd": crowd,
      }
      for name, rows in boxes.items()
      for category, box, crowd in rows
    ]
    (directory / f"instances{ending}").write_text(json.dumps(table))
