"""Base of the builders: ordered, reproducible ArrayRecord shards."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import writer as writer_lib
from tensorflow_datasets.proto import tf_example_pb2

from data import schema
from data.errors import PreparationError
from data.report import Report

Record = dict[str, Any]
Progress = Callable[[Iterable[Record], str, int], Iterable[Record]]


class _ReproducibleWriter(writer_lib.ExampleWriter):
  """Writes the same bytes for the same records.

  A protocol buffer's map has no order of its own, so that the serialised form
  of one record differs from run to run unless its keys are sorted.
  """

  def write(self, path, examples):
    writer = array_record_module.ArrayRecordWriter(
      os.fspath(path), "group_size:1,zstd:1"
    )
    for _, serialised in examples:
      example = tf_example_pb2.Example.FromString(serialised)
      writer.write(example.SerializeToString(deterministic=True))
    writer.close()


class CaptionBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A data set of pictures with captions, in the order it is generated.

  A subclass says which splits it has and yields their records.
  """

  VERSION = tfds.core.Version("1.0.0")
  # Nothing is downloaded. TFDS would look for checksums beside this file, with
  # a package that it does not declare.
  url_infos: ClassVar[dict[str, Any]] = {}

  def __init__(
    self,
    *,
    data_dir: str | os.PathLike[str],
    progress: Progress | None = None,
  ):
    """Opens or will create the data set below a directory.

    Args:
      data_dir: Directory that TFDS may fill.
      progress: Wraps the records of a split (records, split, expected total).
    """
    self.report = Report()
    self._progress = progress or (lambda records, split, total: records)
    super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

  def split_sizes(self) -> dict[str, int]:
    """Number of records that each split is expected to hold."""
    raise NotImplementedError

  def records(self, split: str) -> Iterator[Record]:
    """Records of a split, in the order they will be stored."""
    raise NotImplementedError

  def captions(self) -> Iterable[str]:
    """Texts from which a vocabulary may be learned, in a fixed order."""
    raise NotImplementedError

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self, features=schema.features(), disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {
      split: self._numbered(split, total)
      for split, total in self.split_sizes().items()
    }

  def _numbered(self, split: str, total: int) -> Iterator[tuple[int, Record]]:
    records = self._progress(self.records(split), split, total)
    for number, record in enumerate(records):
      self.report.count_written(split)
      yield number, record
    if not self.report.written.get(split):
      lines = "; ".join(self.report.lines())
      raise PreparationError(f"split {split!r} has no usable record: {lines}")

  def _generate_examples(self, **kwargs):
    raise NotImplementedError("every split has a generator of its own")

  def _example_writer(self) -> writer_lib.ExampleWriter:
    return _ReproducibleWriter(file_format=self.info.file_format)
