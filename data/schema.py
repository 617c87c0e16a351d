"""The record that every prepared data set shares.

Captions are all that training reads. Phrases, their boxes and object boxes are
for evaluation only; a data set that has none leaves them empty. Lists stay
flat: a phrase names its caption by number, a box names its phrase by number.
Further tasks join as further flat fields.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

_FEATURES = tfds.features


def features() -> tfds.features.FeaturesDict:
  """Fields of a record; boxes are xyxy in [0, 1] of the image."""
  box = _FEATURES.Tensor(shape=(4,), dtype=np.float32)
  text = _FEATURES.Text()
  return _FEATURES.FeaturesDict(
    {
      "id": text,  # unique within the data set
      "image_id": np.int64,  # stable hash of the id, below 2**31
      "image": _FEATURES.Image(shape=(None, None, 3)),  # encoded bytes
      "width": np.int32,  # pixels
      "height": np.int32,
      "captions": _FEATURES.Sequence(text),
      "phrases": _FEATURES.Sequence(
        {
          "text": text,
          "caption": np.int32,  # number of its caption
          "start": np.int32,  # characters of the caption
          "end": np.int32,
        }
      ),
      "phrase_boxes": _FEATURES.Sequence({"phrase": np.int32, "box": box}),
      "objects": _FEATURES.Sequence(
        {"label": text, "box": box, "crowd": np.bool_}
      ),
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
  **evaluation: list[Mapping[str, Any]],
) -> dict[str, Any]:
  """A complete record; fields for evaluation are empty unless given.

  Args:
    name: Unique name within the data set.
    image: The encoded picture as it will be stored.
    size: Its width and height in pixels.
    captions: Descriptions of the picture.
    **evaluation: Any of `phrases`, `phrase_boxes` and `objects`.

  Returns:
    What a builder yields.
  """
  empty = {"phrases": [], "phrase_boxes": [], "objects": []}
  return {
    "id": name,
    "image_id": image_id(name),
    "image": image,
    "width": size[0],
    "height": size[1],
    "captions": captions,
    **empty,
    **evaluation,
  }
