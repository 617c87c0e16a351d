"""Prepares a data set: `python -m data.prepare NAME --source DIR --out DIR`.

The directory appears only when it is whole: everything is made in a sibling
and renamed at the end. What an interrupted run finished is kept there, and the
same command goes on from it. A directory that is already whole is left as it
is.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from data.catalog import CATALOG
from data.command import build_parser
from data.errors import PreparationError
from data.report import FILE, NOTES, is_complete, is_local, read_report
from data.source import Source

USAGE_ERROR = 2
_INTERRUPTED = 130  # what shells report for Ctrl-C
# Options that change how fast a directory is made, not what is in it.
_HOW = ("out", "workers", "runner", "beam")


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command line and returns its exit code."""
  parser = build_parser()
  options, options.beam = parser.parse_known_args(arguments)
  if options.beam and not options.runner:
    parser.error(f"unrecognized arguments: {' '.join(options.beam)}")
  try:
    prepare(options)
  except PreparationError as error:
    print(f"data.prepare: {error}", file=sys.stderr)
    return USAGE_ERROR
  except OSError as error:
    print(
      f"data.prepare: {error}; finished shards are kept: run the same command "
      "again to go on",
      file=sys.stderr,
    )
    return USAGE_ERROR
  except KeyboardInterrupt:
    print(
      "data.prepare: interrupted; run the same command again to go on",
      file=sys.stderr,
    )
    return _INTERRUPTED
  return 0


def prepare(options: argparse.Namespace) -> None:
  """Makes the directory that the options ask for, or finds it made.

  Raises:
    PreparationError: The directory exists and is something else, or the
      source or the tokenizer to copy is not what it should be.
  """
  out = options.out
  if is_local(out):
    out = epath.Path(os.path.abspath(out))
  settings = _settings(options)
  if _already_prepared(out, settings):
    print(f"{options.out} is already prepared")
    return
  start = time.monotonic()
  source = CATALOG[options.name].load().from_options(options)
  with tempfile.TemporaryDirectory() as words:
    given = getattr(options, "tokenizer", None)
    if given:  # first, for a mistake here should not wait for the pictures
      from data.vocabulary import copy_tokenizer

      copy_tokenizer(given, Path(words) / "tokenizer")
    # Nothing can be renamed in a bucket: there the metadata comes last.
    work = out.with_name(f".{out.name}.partial") if is_local(out) else out
    lines = _make(options, source, settings, work, Path(words))
  if work != out:
    if out.exists():
      out.rmtree()
    work.rename(out)
  for line in lines:
    print(line)
  print(f"{options.out} prepared in {time.monotonic() - start:.0f} s")


def _make(
  options: argparse.Namespace,
  source: Source,
  settings: dict[str, Any],
  work: epath.Path,
  words: Path,
) -> list[str]:
  """Fills the directory and returns the report's lines."""
  from data import packing
  from data.plan import Plan

  with Plan(
    source,
    name=options.name,
    folder=work,
    settings=settings,
    shards=options.shards,
    decode=getattr(options, "decode", False),
  ) as plan:
    with _bar(sum(plan.totals.values())) as bar:
      packed = packing.pack(plan, _runner(options, bar.update))
    _write_words(options, source, plan, words)
    for path in sorted(words.rglob("*")):
      if path.is_file():
        target = work / path.relative_to(words).as_posix()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    packing.finish(plan, packed, settings)
    return packed.report.lines()


def _runner(
  options: argparse.Namespace, advance: Callable[[int], None]
) -> Callable[[Iterable], None]:
  """Writes the shards of jobs: in processes here, or with Beam."""
  if options.runner is None:
    from data import pool

    return lambda jobs: pool.run_jobs(jobs, options.workers, advance)
  try:
    from data import pipeline
  except ImportError as error:
    raise PreparationError(
      f"--runner {options.runner} needs Apache Beam ({error}): see "
      "data/README.md, With Beam"
    ) from error
  return lambda jobs: pipeline.run_jobs(
    jobs, options.runner, options.beam, advance
  )


def _write_words(
  options: argparse.Namespace, source: Source, plan: Any, words: Path
) -> None:
  """The tokenizer and the source's own texts."""
  from data import packing, vocabulary

  for name, text in source.texts().items():
    (words / name).write_text(text, "utf-8")
  if (words / "tokenizer").exists():
    return
  tokenizer = source.tokenizer() or vocabulary.learned_tokenizer(
    packing.captions(plan), options.vocab_size
  )
  vocabulary.write_tokenizer(tokenizer, words / "tokenizer")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
  """What the content of the directory depends on."""
  settings = {}
  for key, value in vars(options).items():
    if isinstance(value, os.PathLike):
      value = os.fspath(value)
      value = value if "://" in value else os.path.abspath(value)
    if key not in _HOW and value is not None:
      settings[key] = value
  source = getattr(options, "source", None)
  if source is not None and source.is_file():
    # A manifest that has changed is another source; folders are too large.
    digest = hashlib.blake2b(source.read_bytes(), digest_size=16)
    settings["source_digest"] = digest.hexdigest()
  return settings


def _already_prepared(out: epath.Path, settings: dict[str, Any]) -> bool:
  """Whether `out` holds just this; False also when it must be redone."""
  if not out.exists():
    return False
  if not out.is_dir():
    raise PreparationError(f"--out {out} is a file; name a directory")
  report = read_report(out)
  if report is None:
    if any(out.iterdir()) and not (out / NOTES).is_dir():
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
  # An earlier version may have written fewer files.
  wanted = CATALOG[settings["name"]].load().files
  return is_complete(out, report) and {*wanted} <= {*report["files"]}


def _bar(total: int):
  from tqdm import tqdm

  return tqdm(total=total, desc="items", unit=" items")


if __name__ == "__main__":
  sys.exit(main())
