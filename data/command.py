"""The command line of `data.prepare`."""

import argparse
import os
from pathlib import Path

from etils import epath

from data.catalog import CATALOG
from data.source import at_least


def build_parser() -> argparse.ArgumentParser:
  """Options of every data set, and of each its own."""
  parser = argparse.ArgumentParser(
    prog="python -m data.prepare",
    description="Makes a directory of records that training reads.",
  )
  names = parser.add_subparsers(
    dest="name", required=True, metavar="NAME", title="data sets"
  )
  for name, entry in CATALOG.items():
    one = names.add_parser(name, help=entry.text, description=entry.text)
    one.add_argument(
      "--out", type=epath.Path, required=True, help="directory to make"
    )
    one.add_argument(
      "--workers",
      type=at_least(1),
      default=os.cpu_count() or 1,
      help="processes; the records do not depend on it; default: one per core",
    )
    one.add_argument(
      "--shards",
      type=at_least(1),
      help="files per split; default: as suits the source",
    )
    one.add_argument(
      "--runner",
      help="prepare with Apache Beam, such as DirectRunner or DataflowRunner; "
      "options that are not listed here are the pipeline's",
    )
    if not entry.drawn:
      _add_source_options(one)
    entry.load().add_options(one)
  return parser


def _add_source_options(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--source", type=epath.Path, required=True, help="see data/README.md"
  )
  parser.add_argument(
    "--decode",
    action="store_true",
    help="decode every JPEG to its end instead of trusting its markers: finds "
    "damage within, several times slower",
  )
  words = parser.add_mutually_exclusive_group()
  words.add_argument(
    "--vocab-size",
    type=at_least(1),
    default=8_000,
    help="entries of the WordPiece vocabulary learned from the captions",
  )
  words.add_argument(
    "--tokenizer", type=Path, help="directory of a tokenizer to copy instead"
  )
