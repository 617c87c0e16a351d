"""Records of anything that holds them: a source, or a prepared directory."""

import argparse
from collections.abc import Iterator, Mapping
from itertools import islice
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from etils import epath

from data.assembly import assemble
from data.catalog import CATALOG
from data.errors import PreparationError, Unusable
from data.report import is_complete, read_report
from data.source import Example, Skip, Source

_AHEAD = 256  # records that threads work on at a time


class Sample(NamedTuple):
  """A record, or why there is none.

  Attributes:
    split: Where it belongs.
    name: Its id.
    record: Of `schema`; None when it is left out.
    notes: What was repaired or dropped; the reason when it is left out.
  """

  split: str
  name: str
  record: Mapping[str, Any] | None
  notes: list[str]


def source_of(path: epath.Path, name: str | None = None) -> Source:
  """The source that a path holds.

  Args:
    path: A manifest, a table, a folder or a directory of annotation files.
    name: Key of CATALOG; None tells by the files.

  Returns:
    A source with its usual options.

  Raises:
    PreparationError: There is nothing of the kind.
  """
  if name is None:
    coco = [*path.glob("captions*.json"), *path.glob("annotations/captions*")]
    name = "coco_captions" if path.is_dir() and coco else "manifest"
  kind = CATALOG[name].load()
  parser = argparse.ArgumentParser()
  kind.add_options(parser)
  options = parser.parse_args([])
  options.source = path
  return kind.from_options(options)


def source_samples(source: Source) -> Iterator[Sample]:
  """Samples of a source, each picture decoded to its end, in order."""
  items = source.items()
  with ThreadPool() as threads:
    while chunk := list(islice(items, _AHEAD)):
      for samples in threads.imap(lambda item: _made(source, *item), chunk):
        yield from samples


def _made(source: Source, split: str, item: Any) -> list[Sample]:
  made = []
  try:
    for found in source.read(split, item):
      if isinstance(found, Skip):
        made.append(Sample(split, found.name, None, [found.reason]))
      else:
        made.append(_assembled(split, found))
  except Unusable as error:
    made.append(Sample(split, source.label(item), None, [str(error)]))
  except Exception as error:  # one broken file must not end the rest
    reason = f"reader failed: {type(error).__name__}"
    made.append(Sample(split, source.label(item), None, [reason]))
  return made


def _assembled(split: str, example: Example) -> Sample:
  try:
    return Sample(split, example.name, *assemble(example, decode=True))
  except Unusable as error:
    return Sample(split, example.name, None, [str(error)])


def is_prepared(path: epath.Path) -> bool:
  """Whether `data.prepare` made this directory."""
  return (path / "dataset_info.json").is_file()


def open_prepared(path: epath.Path) -> dict[str, Any]:
  """Random access to the records of each split of a prepared directory.

  Raises:
    PreparationError: It is damaged.
  """
  report = read_report(path)
  if report is None or not is_complete(path, report):
    raise PreparationError(
      f"{path} is not whole: a file is missing or has another size than "
      "report.json says; prepare it again"
    )
  try:
    builder = tfds.builder_from_directory(path)
    encoded = {"image": tfds.decode.SkipDecoding()}
    return {
      split: builder.as_data_source(split, decoders=encoded)
      for split in builder.info.splits
    }
  except Exception as error:
    raise PreparationError(f"{path} cannot be opened: {error}") from error


def prepared_samples(path: epath.Path) -> Iterator[Sample]:
  """Samples of a prepared directory, checked as if they came from a source.

  What is stored is clean: cleaning it again must change nothing.
  """
  for split, records in open_prepared(path).items():
    for number in range(len(records)):
      try:
        record = plain_record(records[number])
      except Exception as error:
        place = f"{split} {number}"
        yield Sample(split, place, None, [f"record unreadable: {error}"])
        continue
      yield _assembled(split, _example_of(record))


def plain_record(stored: Mapping[str, Any]) -> dict[str, Any]:
  """A record as `schema` makes it, from what TFDS gives back: texts as str."""

  def plain(value: Any) -> Any:
    if isinstance(value, bytes):
      return value.decode()
    if isinstance(value, dict):
      return {k: v if k == "image" else plain(v) for k, v in value.items()}
    if isinstance(value, list):
      return [plain(entry) for entry in value]
    return value

  return plain(dict(stored))


def _example_of(record: Mapping[str, Any]) -> Example:
  phrases, boxes = record["phrases"], record["phrase_boxes"]
  objects = record["objects"]
  return Example(
    name=record["id"],
    image=record["image"],
    captions=record["captions"],
    size=(int(record["width"]), int(record["height"])),
    phrases=list(
      zip(*(phrases[k] for k in ("text", "caption", "start", "end")))
    ),
    phrase_boxes=list(zip(boxes["phrase"], boxes["box"])),
    objects=list(zip(objects["label"], objects["box"], objects["crowd"])),
    extra={
      key: record[key]
      for key in ("questions", "answers", "statements", "more_images")
      if key in record
    },
    captionless=True,
  )
