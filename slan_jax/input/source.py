"""Opens one split of a prepared directory.

A prepared directory is what `python -m data.prepare` leaves: TFDS metadata,
ArrayRecord shards and a tokenizer. Training sees pictures and captions only;
phrases and boxes are read through `EvaluationSource`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from slan_jax.input.errors import BadRecord, InputError


class TrainingRecord(NamedTuple):
  """What training may see of a record.

  Attributes:
    id: Name within the data set.
    image_id: Stable hash of the name, below 2**31.
    image: The encoded picture.
    size: Its width and height in pixels.
    captions: Descriptions of the picture.
  """

  id: str
  image_id: int
  image: bytes
  size: tuple[int, int]
  captions: list[str]


class Phrase(NamedTuple):
  """A noun phrase of a caption and where it is in the picture.

  Attributes:
    text: The phrase.
    caption: Number of its caption.
    span: First and last + 1 character of the caption.
    boxes: [M, 4] float32 xyxy in [0, 1] of the image; M may be 0.
    kinds: What sorts of thing it names; () = not known.
  """

  text: str
  caption: int
  span: tuple[int, int]
  boxes: np.ndarray
  kinds: tuple[str, ...] = ()


class EvaluationRecord(NamedTuple):
  """A training record with what only evaluation may see.

  Attributes:
    record: Picture and captions.
    phrases: Grounded noun phrases.
    labels: Class of each object.
    boxes: [O, 4] float32 xyxy in [0, 1], one per object.
    crowd: [O] bool: the box holds a crowd.
    areas: [O] float32, pixels that each object covers; 0 = not known.
  """

  record: TrainingRecord
  phrases: list[Phrase]
  labels: list[str]
  boxes: np.ndarray
  crowd: np.ndarray
  areas: np.ndarray

  @property
  def id(self) -> str:
    """Name within the data set."""
    return self.record.id


class TrainingSource:
  """Random access to the pictures and captions of a split."""

  def __init__(self, directory: str | Path, split: str):
    """Opens a split.

    Args:
      directory: A prepared directory.
      split: Name of the split.

    Raises:
      InputError: The directory or the split is missing or damaged.
    """
    self.directory = Path(directory)
    self.split = split
    self._records = _open(self.directory, split)

  @property
  def fields(self) -> set[str]:
    """Names of the fields that its records have."""
    return set(self._records.dataset_info.features)

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, number: int) -> TrainingRecord:
    return read_record(self.features(number))

  def features(self, number: int) -> Any:
    """The stored fields of a record by name, as TFDS wrote them.

    Raises:
      BadRecord: It cannot be read.
    """
    # TFDS's own parser visits every field of a record, boxes included; this
    # reads the few that are wanted, ten times faster.
    try:
      serialised = self._records[number]
      return tf_example_pb2.Example.FromString(serialised).features.feature
    except Exception as error:  # a checksum that fails, or broken framing
      raise BadRecord("unreadable record") from error


class EvaluationSource(TrainingSource):
  """Random access to whole records of a split."""

  def __getitem__(self, number: int) -> EvaluationRecord:
    fields = self.features(number)
    boxes = _boxes(fields, "phrase_boxes/box")
    owners = np.array(fields["phrase_boxes/phrase"].int64_list.value, int)
    rows = list(
      zip(
        texts(fields, "phrases/text"),
        fields["phrases/caption"].int64_list.value,
        fields["phrases/start"].int64_list.value,
        fields["phrases/end"].int64_list.value,
      )
    )
    kinds = [
      tuple(filter(None, kind.split("/")))
      for kind in texts(fields, "phrase_kinds") or [""] * len(rows)
    ]
    return EvaluationRecord(
      record=read_record(fields),
      phrases=[
        Phrase(text, caption, (start, end), boxes[owners == row], kinds[row])
        for row, (text, caption, start, end) in enumerate(rows)
      ],
      labels=texts(fields, "objects/label"),
      boxes=_boxes(fields, "objects/box"),
      crowd=np.array(fields["objects/crowd"].int64_list.value, bool),
      areas=_areas(fields),
    )


class StoredPictures(Sequence):
  """Encoded pictures of records, read whenever they are asked for.

  A test split's would fill the memory: VQA's are 13 GB.
  """

  def __init__(
    self, source: TrainingSource, numbers: Sequence[int], field: str = "image"
  ):
    """Reads nothing yet.

    Args:
      source: Holds the records.
      numbers: The records, each of which was read before.
      field: Whose first picture is meant.
    """
    self._source, self._numbers, self._field = source, numbers, field

  def __len__(self) -> int:
    return len(self._numbers)

  def __getitem__(self, row: int) -> bytes:
    """The bytes of a picture.

    Raises:
      BadRecord: It can no longer be read.
    """
    fields = self._source.features(self._numbers[row])
    return fields[self._field].bytes_list.value[0]


def _open(directory: Path, split: str) -> Any:
  advice = "make it with `python -m data.prepare NAME --out DIR`"
  if not (directory / "dataset_info.json").is_file():
    raise InputError(
      f"data directory {str(directory)!r} is not a prepared data set (no "
      f"dataset_info.json): {advice}"
    )
  try:
    builder = tfds.builder_from_directory(directory)
    names = list(builder.info.splits)
  except Exception as error:
    raise InputError(f"{directory}: unreadable metadata ({error})") from error
  if split not in names:
    raise InputError(f"{directory} has no split {split!r}; it has {names}")
  _check_features(directory, builder)
  info = builder.info.splits[split]
  for path, length in zip(info.filepaths, info.shard_lengths):
    _check_shard(Path(path), length, advice)
  return builder.as_data_source(
    split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )


def _check_shard(path: Path, length: int, advice: str) -> None:
  """Reads a shard's own table of contents, which is at its end."""
  if not path.is_file():
    raise InputError(f"shard {path} is missing: {advice}")
  try:
    reader = array_record_module.ArrayRecordReader(str(path))
    found = reader.num_records()
    reader.close()
  except Exception as error:
    raise InputError(f"shard {path} is damaged ({error}): {advice}") from error
  if found != length:
    raise InputError(
      f"shard {path} is damaged ({found} of {length} records): {advice}"
    )


def _check_features(directory: Path, builder: Any) -> None:
  needed = {"id", "image_id", "image", "width", "height", "captions"}
  missing = sorted(needed - set(builder.info.features or ()))
  if missing:
    raise InputError(f"{directory}: its records lack the fields {missing}")


def read_record(fields: Any) -> TrainingRecord:
  """What training may see of the fields of a record.

  Raises:
    BadRecord: One of them is missing.
  """
  try:
    return _read_fields(fields)
  except (IndexError, UnicodeDecodeError) as error:
    raise BadRecord("unreadable record") from error


def _read_fields(fields) -> TrainingRecord:
  return TrainingRecord(
    id=fields["id"].bytes_list.value[0].decode(),
    image_id=fields["image_id"].int64_list.value[0],
    image=fields["image"].bytes_list.value[0],
    size=(
      fields["width"].int64_list.value[0],
      fields["height"].int64_list.value[0],
    ),
    captions=texts(fields, "captions"),
  )


def texts(fields: Any, name: str) -> list[str]:
  """The texts of one field."""
  return [text.decode() for text in fields[name].bytes_list.value]


def _boxes(fields, name: str) -> np.ndarray:
  return np.array(fields[name].float_list.value, np.float32).reshape(-1, 4)


def _areas(fields) -> np.ndarray:
  found = np.array(fields["object_areas"].float_list.value, np.float32)
  objects = len(fields["objects/label"].bytes_list.value)
  return found if len(found) == objects else np.zeros(objects, np.float32)
