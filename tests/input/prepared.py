"""Small prepared directories and the configurations that read them."""

from pathlib import Path

import cv2
import numpy as np
from array_record.python import array_record_module
from etils import epath

from data.metadata import shard_names, write_metadata
from data.parts import part_features
from data.schema import Serialiser, features, record
from data.vocabulary import words_tokenizer, write_tokenizer
from slan_jax.input.config import EvaluationConfig, InputConfig

WORDS = ["a", "an", "and", "the", "of", "on", "left", "right", "two"]
WORDS += ["red", "blue", "green", "dog", "dogs", "cat"]


def write_dataset(
  directory: Path, *, parts: tuple[str, ...] = (), **splits: list[dict]
) -> Path:
  """A prepared directory with just these records and a vocabulary of WORDS."""
  directory.mkdir(exist_ok=True)
  fields = features(**part_features(parts))
  serialise = Serialiser(fields)
  sizes = {}
  for split, records in splits.items():
    path = directory / shard_names("given", split, 1)[0]
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for row in records:
      writer.write(serialise(row))
    writer.close()
    sizes[split] = path.stat().st_size
  lengths = {split: [len(records)] for split, records in splits.items()}
  write_metadata(epath.Path(directory), "given", fields, lengths, sizes)
  write_tokenizer(words_tokenizer(WORDS), directory / "tokenizer")
  return directory


def picture(number: int, side: int = 16) -> bytes:
  """A losslessly stored picture of one grey level on the left half."""
  pixels = np.zeros((side, side, 3), np.uint8)
  pixels[:, : side // 2] = number
  return cv2.imencode(".png", pixels)[1].tobytes()


def photograph(width: int, height: int) -> bytes:
  """A JPEG of smooth noise."""
  coarse = np.random.default_rng(0).integers(0, 255, (5, 5, 3), np.uint8)
  return cv2.imencode(".jpg", cv2.resize(coarse, (width, height)))[1].tobytes()


def damage(shard: Path, image: bytes) -> None:
  """Changes a byte of a picture within a shard: its checksum fails.

  The picture must not compress, or it could not be found.
  """
  data = bytearray(shard.read_bytes())
  middle = len(image) // 2
  data[data.index(image[middle : middle + 16])] ^= 255
  shard.write_bytes(data)


def plain_records(count: int, captions=("a red dog",)) -> list[dict]:
  """Records whose picture tells their number: left half of that grey."""
  return [
    record(f"r{number}", picture(number), (16, 16), list(captions))
    for number in range(count)
  ]


def input_config(**changes) -> InputConfig:
  """Nothing random but the order, unless changed."""
  plain = {
    "split": "train",
    "tokenizer": "dataset",
    "word_classes": "dataset",
    "image_size": 16,
    "max_length": 12,
    "batch_size": 4,
    "seed": 0,
    "crop_scale": (1.0, 1.0),
    "reduced_decode": True,
    "flip": False,
    "randaugment": (0, 0),
    "caption": "first",
    "hard_negatives": 0,
    "threads": 1,
    "prefetch": 1,
  }
  return InputConfig(**(plain | changes))


def block(process: int, processes: int, batch_size: int) -> tuple[int, ...]:
  """Rows of a batch where each process holds one block of them."""
  rows = batch_size // processes
  return tuple(range(process * rows, (process + 1) * rows))


def evaluation_config(**changes) -> EvaluationConfig:
  plain = {"tokenizer": "dataset", "image_size": 16, "max_length": 12}
  return EvaluationConfig(**(plain | changes))
