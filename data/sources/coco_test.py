"""COCO's lists of pictures whose annotations its server alone knows.

image_info_test2017.json  image_info_test-dev2017.json   test2017/*.jpg
"""

import argparse
from typing import NamedTuple

from etils import epath

from data.errors import PreparationError
from data.listing import first_file, is_split


class TestList(NamedTuple):
  """A list: its file, its split, and where below the source pictures lie."""

  path: epath.Path
  split: str
  folders: tuple[str, ...]


def add_test_list(parser: argparse.ArgumentParser) -> None:
  """Declares the option that names a list."""
  parser.add_argument(
    "--test-list",
    metavar="FILE",
    help="a list of pictures without annotations in the source, such as "
    "image_info_test2017.json: a split for result files, named as the file",
  )


def find_test_list(root: epath.Path, name: str) -> TestList:
  """The list of a name, at the top of the source or in annotations/.

  Args:
    root: Directory of COCO's files.
    name: image_info_TAG.json. TAG is the split ("test-dev2017": test_dev2017).

  Raises:
    PreparationError: There is no such file, or no split can have this name.
  """
  path = first_file(root, (name, f"annotations/{name}"), "such --test-list")
  before, _, tag = path.stem.partition("image_info_")
  split = tag.replace("-", "_")
  taken = split in ("train", "val", "test")
  if before or taken or not is_split(split):
    raise PreparationError(
      f"--test-list {name}: expected image_info_TAG.json, where TAG names the "
      "split, such as test2017"
    )
  folder = tag.replace("test-dev", "test")  # a part of the pictures of test
  return TestList(path, split, (folder, f"images/{folder}", "images"))
