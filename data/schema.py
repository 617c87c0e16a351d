"""The record that every prepared data set shares.

Captions are all that training reads. Phrases, their boxes and object boxes are
for evaluation only; a data set that has none leaves them empty. Lists stay
flat: a phrase names its caption by number, a box names its phrase by number.
Further tasks join as further flat fields.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

_FEATURES = tfds.features
Rows = Iterable[tuple]


def features(**more: Any) -> tfds.features.FeaturesDict:
  """Fields of a record; boxes are xyxy in [0, 1] of the image.

  Args:
    **more: Further fields of one source: TFDS features, flat.
  """
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
      **more,
    }
  )


class Serialiser:
  """Writes records as TFDS does, only faster and the same in every run.

  TFDS's own writer checks every number by itself, which takes longer than
  everything else that happens to a picture here.
  """

  def __init__(self, fields: tfds.features.FeaturesDict):
    """Reads the kind of every field.

    Args:
      fields: Of `features`; nested sequences are not among them.
    """
    flat = tfds.core.utils.flatten_nest_dict(fields.get_serialized_info())
    self._kinds = {
      name: np.dtype(info.np_dtype).kind for name, info in flat.items()
    }

  def __call__(self, record: Mapping[str, Any]) -> bytes:
    """The record as bytes.

    Args:
      record: A value for every field, flat or nested as the features are.

    Raises:
      KeyError: A field is missing, or there is one too many.
      TypeError: A value is of another kind than its field.
    """
    values = tfds.core.utils.flatten_nest_dict(record)
    if values.keys() != self._kinds.keys():
      raise KeyError(
        f"fields that differ: {values.keys() ^ self._kinds.keys()}"
      )
    example = tf_example_pb2.Example()
    fields = example.features.feature
    for name, kind in self._kinds.items():
      value = values[name]
      if kind in "biu":
        numbers = np.asarray(value, np.int64)
        fields[name].int64_list.value.extend(numbers.ravel().tolist())
      elif kind == "f":
        numbers = np.asarray(value, np.float32)
        fields[name].float_list.value.extend(numbers.ravel().tolist())
      else:
        rows = value if isinstance(value, (list, tuple)) else [value]
        texts = [t.encode() if isinstance(t, str) else t for t in rows]
        fields[name].bytes_list.value.extend(texts)
    # A map has no order of its own: sorted, the same record is the same bytes.
    return example.SerializeToString(deterministic=True)


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
