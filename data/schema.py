"""The record that every prepared data set shares.

Captions are all that training reads. Phrases, their boxes and object boxes are
for evaluation only; a data set that has none leaves them empty. Lists stay
flat: a phrase names its caption by number, a box names its phrase by number.
Further tasks join as further flat fields.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

_FEATURES = tfds.features
Rows = Iterable[tuple]


def features() -> tfds.features.FeaturesDict:
  """Fields of a record; boxes are xyxy in [0, 1] of the image."""
  text = _FEATURES.Text()
  texts = _FEATURES.Sequence(text)
  # Whole columns: TFDS walks a Sequence of numbers one by one.
  numbers = _FEATURES.Tensor(shape=(None,), dtype=np.int32)
  flags = _FEATURES.Tensor(shape=(None,), dtype=np.bool_)
  boxes = _FEATURES.Tensor(shape=(None, 4), dtype=np.float32)
  return _FEATURES.FeaturesDict(
    {
      "id": text,  # unique within the data set
      "image_id": np.int64,  # stable hash of the id, below 2**31
      "image": _FEATURES.Image(shape=(None, None, 3)),  # encoded bytes
      "width": np.int32,  # pixels
      "height": np.int32,
      "captions": texts,
      "phrases": {
        "text": texts,
        "caption": numbers,  # which caption
        "start": numbers,  # characters of the caption
        "end": numbers,
      },
      "phrase_boxes": {"phrase": numbers, "box": boxes},
      "objects": {"label": texts, "box": boxes, "crowd": flags},
    }
  )


def image_id(name: str) -> int:
  """A number below 2**31 that depends on the name alone."""
  digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
  return int.from_bytes(digest, "little") & 0x7FFFFFFF


def record(
  name: str,
  image: bytes,
  size: tuple[int, int],
  captions: list[str],
  *,
  phrases: Rows = (),
  phrase_boxes: Rows = (),
  objects: Rows = (),
) -> dict[str, Any]:
  """A complete record; fields for evaluation are empty unless given.

  Args:
    name: Unique name within the data set.
    image: The encoded picture as it will be stored.
    size: Its width and height in pixels.
    captions: Descriptions of the picture.
    phrases: Rows of (text, caption, start, end).
    phrase_boxes: Rows of (phrase, box).
    objects: Rows of (label, box, crowd).

  Returns:
    What a builder yields.
  """
  return {
    "id": name,
    "image_id": image_id(name),
    "image": image,
    "width": size[0],
    "height": size[1],
    "captions": captions,
    "phrases": _columns(
      phrases, text=None, caption=np.int32, start=np.int32, end=np.int32
    ),
    "phrase_boxes": _columns(phrase_boxes, phrase=np.int32, box=np.float32),
    "objects": _columns(objects, label=None, box=np.float32, crowd=np.bool_),
  }


def _columns(rows: Rows, **dtypes: Any) -> dict[str, Any]:
  columns = list(zip(*rows)) or [()] * len(dtypes)
  arrays: dict[str, Any] = {}
  for (name, dtype), column in zip(dtypes.items(), columns):
    if dtype is None:
      arrays[name] = list(column)
    else:
      shape = (-1, 4) if name == "box" else (-1,)
      arrays[name] = np.array(column, dtype).reshape(shape)
  return arrays
