"""The pipelines that the input is compared with, and ours.

Each one yields batches of crops at 224 px with BLIP's augmentation for
pre-training. The peers use Pillow, as BLIP does, and end at normalised
float32; ours ends at uint8 with the captions' tokens, because normalising is
the device's work.
"""

import functools
import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import grain
import numpy as np
import torch
import webdataset
from PIL import Image, ImageEnhance, ImageOps

from slan_jax.input.config import InputConfig
from slan_jax.input.crop import crop_window
from slan_jax.input.loader import Loader

SIDE, SCALE, NUMBER, MAGNITUDE = 224, (0.2, 1.0), 2, 5
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
SHARD = 310  # pictures of a tar file
Batches = Iterator[object]


def ours(place: Path, batch: int, workers: int, *, position: int = 0) -> Loader:
  """Ours, tokens included; one thread per core."""
  config = InputConfig(
    split="train",
    tokenizer="dataset",
    word_classes="dataset",
    image_size=SIDE,
    max_length=32,
    batch_size=batch,
    seed=0,
    crop_scale=SCALE,
    reduced_decode=True,
    flip=True,
    randaugment=(NUMBER, MAGNITUDE),
    caption="random",
    hard_negatives=0,
    threads=workers,
    prefetch=2 * workers,
  )
  return Loader(place / "prepared", config, position=position)


def torch_pillow(place: Path, batch: int, workers: int) -> Batches:
  """torch DataLoader over files; in this process on one core."""
  loader = torch.utils.data.DataLoader(
    _Files(place),
    batch_size=batch,
    shuffle=True,
    drop_last=True,
    num_workers=_processes(workers),
  )
  while True:
    yield from loader


def webdataset_pillow(place: Path, batch: int, workers: int) -> Batches:
  """webdataset over tar files, shuffled within a window."""
  shards = sorted(map(str, place.glob("tar/*.tar")))
  data = (
    webdataset.WebDataset(shards, shardshuffle=len(shards), repeat=True)
    .shuffle(200)
    .to_tuple("jpg")
    .map(lambda parts: _transformed(parts[0]))
    .batched(batch)
  )
  loader = webdataset.WebLoader(
    data, batch_size=None, num_workers=_processes(workers)
  )
  return iter(loader)


def grain_pillow(place: Path, batch: int, workers: int) -> Batches:
  """Grain's threads over files, with Pillow."""
  data = (
    grain.MapDataset.source(_Files(place)).seed(0).shuffle().repeat()
  ).batch(batch, batch_fn=torch.stack)
  return iter(data.to_iter_dataset(grain.ReadOptions(workers, 2 * workers)))


PIPELINES = {
  "ours": ours,
  "torch DataLoader + PIL": torch_pillow,
  "webdataset + PIL": webdataset_pillow,
  "grain + PIL": grain_pillow,
}


def _processes(workers: int) -> int:
  return workers if workers > 1 else 0


def write_tars(place: Path, pictures: list[bytes]) -> None:
  """Writes the pictures once more, as webdataset reads them."""
  (place / "tar").mkdir()
  for start in range(0, len(pictures), SHARD):
    with tarfile.open(place / "tar" / f"{start:06}.tar", "w") as tar:
      for number, data in enumerate(pictures[start : start + SHARD], start):
        info = tarfile.TarInfo(f"{number:06}.jpg")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


class _Files:
  """Pictures of a folder, decoded and augmented when indexed."""

  def __init__(self, place: Path):
    self._paths = sorted((place / "files").iterdir())

  def __len__(self) -> int:
    return len(self._paths)

  def __getitem__(self, number: int) -> torch.Tensor:
    return _transformed(self._paths[number].read_bytes())


def _transformed(data: bytes) -> torch.Tensor:
  """BLIP's transforms for pre-training, by Pillow and torch."""
  rng = random
  picture = Image.open(io.BytesIO(data)).convert("RGB")
  left, top, width, height = crop_window(picture.size, SCALE, rng)
  box = (left, top, left + width, top + height)
  picture = picture.crop(box).resize((SIDE, SIDE), Image.BICUBIC)
  if rng.random() < 0.5:
    picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
  for _ in range(NUMBER):
    operation = rng.choice(_operations())
    if rng.random() < 0.5:
      picture = operation(picture, rng.choice((-1, 1)) * MAGNITUDE / 10)
  pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
  return pixels.float().div_(255).sub_(MEAN).div_(STD)


@functools.cache
def _operations() -> tuple:
  """BLIP's ten operations; strength has the sign of the direction."""
  grey = {"resample": Image.BILINEAR, "fillcolor": (128, 128, 128)}

  def affine(coefficients):
    return lambda picture, s: picture.transform(
      picture.size, Image.AFFINE, coefficients(s), **grey
    )

  def enhanced(kind):
    return lambda picture, s: kind(picture).enhance(0.1 + 1.8 * abs(s))

  return (
    lambda picture, s: picture,
    lambda picture, s: ImageOps.autocontrast(picture),
    lambda picture, s: ImageOps.equalize(picture),
    enhanced(ImageEnhance.Brightness),
    enhanced(ImageEnhance.Sharpness),
    affine(lambda s: (1, 0.3 * s, 0, 0, 1, 0)),
    affine(lambda s: (1, 0, 0, 0.3 * s, 1, 0)),
    affine(lambda s: (1, 0, 10 * s, 0, 1, 0)),
    affine(lambda s: (1, 0, 0, 0, 1, 10 * s)),
    lambda picture, s: picture.rotate(30 * s, **grey),
  )
