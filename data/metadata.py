"""What TFDS needs beside the shards in order to open them."""

import os
from collections.abc import Mapping, Sequence

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import dataset_info, naming

VERSION = "1.0.0"


def write_metadata(
  folder: epath.Path,
  name: str,
  fields: tfds.features.FeaturesDict,
  lengths: Mapping[str, Sequence[int]],
  sizes: Mapping[str, int],
) -> None:
  """Writes dataset_info.json and features.json.

  Args:
    folder: Where the shards lie.
    name: Of the data set; `shard_names` tells what its files are called.
    fields: Of a record.
    lengths: Records of each shard, by split.
    sizes: Bytes of all its shards, by split.
  """
  splits = [
    tfds.core.SplitInfo(
      name=split,
      shard_lengths=list(counts),
      num_bytes=sizes[split],
      filename_template=naming.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=name,
        split=split,
        filetype_suffix="array_record",
      ),
    )
    for split, counts in lengths.items()
  ]
  info = dataset_info.DatasetInfo(
    builder=dataset_info.DatasetIdentity(
      name=name,
      version=tfds.core.Version(VERSION),
      data_dir=os.fspath(folder),
      module_name="data",
    ),
    features=fields,
    disable_shuffling=True,
    split_dict=tfds.core.SplitDict(splits),
  )
  info.set_file_format("array_record")
  info.write_to_directory(os.fspath(folder))


def shard_names(name: str, split: str, count: int) -> list[str]:
  """File names of a split's shards, as TFDS looks for them."""
  return [
    f"{name}-{split}.array_record-{number:05d}-of-{count:05d}"
    for number in range(count)
  ]
