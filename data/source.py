"""What a source of data is: a list of items, and how to read one.

An item is a unit of work small enough to list and large enough to be worth a
message to another process: one picture of an annotation file, one tar archive,
a thousand lines of a table. Items are listed once, in the order in which their
records will be stored, and read in any process.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

from etils import epath

from data.errors import Unusable

Rows = Iterable[tuple]


class Skip(NamedTuple):
  """A record that was seen and is left out.

  Attributes:
    reason: Short, one of few; the report counts by it.
    name: Which record, for the report.
  """

  reason: str
  name: str


class Example(NamedTuple):
  """A record as a source gives it, before anything is checked.

  Checking is not the source's work: `assembly.assemble` repairs or refuses
  pictures, captions and boxes by the rules that every source shares.

  Attributes:
    name: Unique within the data set; a second one of the same name is left out.
    image: The encoded picture as it was found.
    captions: Descriptions; bytes are taken as UTF-8.
    size: Width and height in pixels that the source states, if it does. Boxes
      belong to a picture of this size in stored orientation.
    phrases: Rows of (text, caption number, first character, last + 1).
    phrase_boxes: Rows of (phrase number, box).
    objects: Rows of (label, box, crowd). Boxes are xyxy as fractions of the
      picture and may be anything; `boxes.fractions` makes them from pixels.
    extra: Values of the fields that `Source.fields` adds.
    notes: What the source itself left out of the record or repaired.
    captionless: The record is kept without a caption: its task has others.
  """

  name: str
  image: bytes
  captions: list[Any]
  size: tuple[int, int] | None = None
  phrases: Rows = ()
  phrase_boxes: Rows = ()
  objects: Rows = ()
  extra: Mapping[str, Any] = {}
  notes: Iterable[str] = ()
  captionless: bool = False


class Source:
  """Base of the sources. It is pickled: attributes are paths and options.

  Attributes:
    root: Directory of the downloaded files, or None where there are none.
    per_shard: Items that one output file holds unless --shards says otherwise.
    files: Names of what `texts` gives.
  """

  per_shard: ClassVar[int] = 2_000
  files: ClassVar[tuple[str, ...]] = ()

  def __init__(self, root: epath.Path | None = None):
    self.root = root

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    """Declares the options that this source has beside the common ones."""

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    """The source that the command line asks for.

    Raises:
      PreparationError: The directory is not what it should be.
    """
    return cls(options.source)

  def items(self) -> Iterator[tuple[str, Any]]:
    """Rows of (split, item), in the order of storage; an item is JSON."""
    raise NotImplementedError

  def read(self, split: str, item: Any) -> Iterator[Example | Skip]:
    """Records of an item: each is yielded, as an example or as left out.

    `Unusable` raised here leaves out the whole item, counted as one record.
    """
    raise NotImplementedError

  def label(self, item: Any) -> str:
    """What the report calls an item that is left out as a whole."""
    return str(item)[:80]

  def fields(self) -> dict[str, Any]:
    """TFDS features that records have beyond the common ones; flat."""
    return {}

  def tokenizer(self) -> Any:
    """A vocabulary of its own, or None: learned from captions or copied."""
    return None

  def texts(self) -> dict[str, str]:
    """Contents of `files`, which the prepared directory has besides."""
    return {}


def read_file(root: epath.Path, name: Any, folders: Iterable[str] = ("",)):
  """Bytes of a file that an annotation names.

  Args:
    root: Directory of the source; nothing outside it is ever read.
    name: Path below one of the folders, from an untrusted file.
    folders: Where to look below the root, first match wins.

  Returns:
    The bytes.

  Raises:
    Unusable: The name leaves the root, or there is no such file.
  """
  check_inside(name)
  for folder in folders:
    if folder:  # an annotation may name this one, too
      check_inside(folder)
    try:
      return (root / folder / name).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
      continue
    except (OSError, ValueError) as error:
      raise Unusable("image unreadable") from error
  raise Unusable("image missing")


def check_inside(name: Any) -> None:
  """Refuses a path that is absolute, climbs, or is none.

  Raises:
    Unusable: It could lead out of the directory it is meant for.
  """
  if not isinstance(name, str) or not name or "\0" in name:
    raise Unusable("image without a name")
  parts = name.replace("\\", "/").split("/")
  if parts[0] == "" or ".." in parts or ":" in parts[0]:
    raise Unusable("path leaves the source")


def stated_size(size: Any) -> tuple[int, int] | None:
  """Width and height in pixels that an annotation gives, or None."""
  try:
    width, height = (int(side) for side in size)
  except (TypeError, ValueError, OverflowError):
    return None
  return (width, height) if width > 0 and height > 0 else None


def at_least(least: int) -> Callable[[str], int]:
  """Type of a command line option: a whole number, not below this."""

  def parse(text: str) -> int:
    value = int(text)
    if value < least:
      raise argparse.ArgumentTypeError(
        f"expected at least {least}, got {value}"
      )
    return value

  return parse
