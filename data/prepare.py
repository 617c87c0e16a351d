"""Prepares a data set: `python -m data.prepare NAME --out DIR`.

The directory appears only when it is whole: everything is made in a sibling
and renamed at the end. A directory that is already whole is left as it is.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data.errors import PreparationError
from data.report import FILE, is_complete, read_report, write_report

USAGE_ERROR = 2
_INTERRUPTED = 130  # what shells report for Ctrl-C
_CLASSES, _COUNTERFACTUALS = "word_classes.json", "counterfactuals.json"
_SCENES = {
  "scenes": "drawn scenes of 1-4 objects, 64 pixels",
  "scenes_hard": "drawn scenes of 1-6 objects, 128 pixels, with clutter",
}


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command line and returns its exit code."""
  options = _parser().parse_args(arguments)
  try:
    prepare(options)
  except PreparationError as error:
    print(f"data.prepare: {error}", file=sys.stderr)
    return USAGE_ERROR
  except KeyboardInterrupt:
    print("data.prepare: interrupted; nothing is left", file=sys.stderr)
    return _INTERRUPTED
  return 0


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m data.prepare",
    description="Makes a directory of records that training reads.",
  )
  names = parser.add_subparsers(
    dest="name", required=True, metavar="NAME", title="data sets"
  )
  for name, text in _SCENES.items():
    scenes = _add(names, name, text)
    scenes.add_argument("--train-size", type=_positive, default=40_000)
    scenes.add_argument("--val-size", type=_positive, default=500)
    scenes.add_argument("--test-size", type=_positive, default=1_000)
    scenes.add_argument("--seed", type=_natural, default=0)
    scenes.add_argument(
      "--processes", type=_positive, help="that draw; default: one per core"
    )
  coco = _add(names, "coco_captions", "photographs of COCO's official files")
  coco.add_argument(
    "--source", type=Path, required=True, help="see data/README.md"
  )
  words = coco.add_mutually_exclusive_group()
  words.add_argument(
    "--vocab-size",
    type=_positive,
    default=8_000,
    help="entries of the WordPiece vocabulary learned from the captions",
  )
  words.add_argument(
    "--tokenizer", type=Path, help="directory of a tokenizer to copy instead"
  )
  return parser


def _add(names, name: str, text: str) -> argparse.ArgumentParser:
  parser = names.add_parser(name, help=text, description=text)
  parser.add_argument(
    "--out", type=Path, required=True, help="directory to make"
  )
  return parser


def _positive(text: str) -> int:
  return _at_least(text, 1)


def _natural(text: str) -> int:
  return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
  value = int(text)
  if value < least:
    raise argparse.ArgumentTypeError(f"expected at least {least}, got {value}")
  return value


def prepare(options: argparse.Namespace) -> None:
  """Makes the directory that the options ask for, or finds it made.

  Raises:
    PreparationError: The directory exists and is something else, or the
      source or the tokenizer to copy is not what it should be.
  """
  out = options.out.absolute()
  settings = _settings(options)
  if _already_prepared(out, settings):
    print(f"{options.out} is already prepared")
    return
  start = time.monotonic()
  partial = out.with_name(f".{out.name}.partial")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    builder = _builder(options, partial)
    # First, for a mistake here should not wait for the pictures.
    texts = partial / "texts"
    _write_vocabulary(options, builder, texts)
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces itself
      builder.download_and_prepare()
    if options.name in _SCENES:
      _write_counterfactuals(builder, texts / _COUNTERFACTUALS)
    made = Path(builder.data_dir)
    for path in texts.iterdir():
      path.rename(made / path.name)
    write_report(made, builder.report, settings)
    if out.exists():
      shutil.rmtree(out)
    os.replace(made, out)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  for line in builder.report.lines():
    print(line)
  print(f"{options.out} prepared in {time.monotonic() - start:.0f} s")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
  """What the content of the directory depends on."""
  return {
    key: str(value.absolute()) if isinstance(value, Path) else value
    for key, value in vars(options).items()
    if key not in ("out", "processes")
  }


def _already_prepared(out: Path, settings: dict[str, Any]) -> bool:
  """Whether `out` holds just this; False also when it must be redone."""
  if not out.exists():
    return False
  if not out.is_dir():
    raise PreparationError(f"--out {out} is a file; name a directory")
  report = read_report(out)
  if report is None:
    if any(out.iterdir()):
      raise PreparationError(
        f"--out {out} holds something else (no readable {FILE}); name "
        "another directory or remove it"
      )
    return False
  if report.get("settings") != settings:
    raise PreparationError(
      f"--out {out} was prepared with {json.dumps(report.get('settings'))}, "
      f"not {json.dumps(settings)}; name another directory or remove it"
    )
  # An earlier version wrote no counterfactuals.
  older = (
    settings["name"] in _SCENES and _COUNTERFACTUALS not in report["files"]
  )
  return is_complete(out, report) and not older


def _builder(options: argparse.Namespace, directory: Path):
  # TFDS takes a second to import: not before the request is known to be good.
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  shared = {"data_dir": directory, "progress": _progress}
  if options.name == "coco_captions":
    from data.coco_captions import CocoCaptions

    return CocoCaptions(source=options.source, **shared)
  from data import scenes

  makers = {"scenes": scenes.Scenes, "scenes_hard": scenes.ScenesHard}
  return makers[options.name](
    train_size=options.train_size,
    val_size=options.val_size,
    test_size=options.test_size,
    seed=options.seed,
    processes=options.processes,
    **shared,
  )


def _progress(records: Iterable, split: str, total: int) -> Iterable:
  from tqdm import tqdm

  return tqdm(records, desc=f"{split:>6}", total=total, unit=" records")


def _write_vocabulary(
  options: argparse.Namespace, builder, directory: Path
) -> None:
  from data import vocabulary

  place = directory / "tokenizer"
  if options.name == "coco_captions":
    if options.tokenizer:
      vocabulary.copy_tokenizer(options.tokenizer, place)
      return
    tokenizer = vocabulary.learned_tokenizer(
      list(builder.captions()), options.vocab_size
    )
    vocabulary.write_tokenizer(tokenizer, place)
    return
  vocabulary.write_tokenizer(builder.tokenizer(), place)
  classes = json.dumps(builder.word_classes(), indent=2) + "\n"
  (directory / _CLASSES).write_text(classes, "utf-8")


def _write_counterfactuals(builder, path: Path) -> None:
  """One list per split, one line per pair."""
  splits = [
    f"{json.dumps(split)}: [\n" + ",\n".join(map(json.dumps, pairs)) + "\n]"
    for split, pairs in builder.counterfactuals().items()
  ]
  path.write_text("{" + ",\n".join(splits) + "}\n", "utf-8")


if __name__ == "__main__":
  sys.exit(main())
