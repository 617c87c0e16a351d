"""What slan-predict can be asked: its verbs and their arguments."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITING = (
  "search", "beams", "top_p", "shortest", "longest", "repetition_penalty"
)  # fmt: skip
FIGURES = (1, 4, 5, 6, 7, 8, 9)  # of the paper


def parser() -> argparse.ArgumentParser:
  """All verbs; each has `model`, `checkpoint`, `batch`, `json` and `debug`."""
  made = argparse.ArgumentParser(
    "slan-predict", description="Answers for your own pictures, as JSON lines."
  )
  verbs = made.add_subparsers(dest="verb", required=True)

  def verb(name: str, about: str) -> Callable:
    add = verbs.add_parser(name, help=about, description=about).add_argument
    add("--model", type=Path, required=True, help="an export, or a run's home")
    add("--checkpoint", default="last", help="of a run: step, last or best")
    add("--batch", type=_positive, default=16, help="images or pairs at once")
    add("--json", action="store_true", help="JSON lines also on a terminal")
    add("--debug", action="store_true", help="show where an error comes from")
    return add

  add = verb("retrieve", "Finds pictures for texts.")
  add("--images", type=Path, required=True, help="a folder")
  add("--text", required=True, nargs="+")
  add("--top", type=_positive, default=5, help="pictures shown for a text")
  add("--rerank", type=_positive, default=32, help="candidates looked at again")
  add("--index", type=Path, help="file of features; else in the folder itself")
  _add_draw(add)
  add = verb("score", "Scores pictures with texts.")
  _add_images(add)
  add("--text", required=True, nargs="+")
  add = verb("ground", "Locates a text's phrases.")
  _add_image(add)
  add("--text", required=True)
  add("--phrase", action="append", default=[], help="part of the text; repeat")
  _add_draw(add)
  add = verb("detect", "Finds named things.")
  _add_image(add)
  add("--labels", type=_names, required=True, help="as person,red_ball")
  add("--most", type=_positive, default=10, help="boxes at most")
  add("--share", type=float, default=0.02, help="of the best score, at least")
  _add_draw(add)
  add = verb("ask", "Answers questions.")
  _add_image(add)
  add("--question", required=True, nargs="+")
  _add_search(add)
  add = verb("caption", "Writes captions.")
  _add_images(add)
  _add_search(add)
  add = verb("figure", "Draws a figure of the paper.")
  add("number", type=int, choices=FIGURES)
  add("--images", type=Path, nargs="+", default=[], help="files; of 8 a folder")
  add("--text", nargs="+", default=[], help="one an image, or several of one")
  add("--right", type=Path, nargs="+", default=[], help="of 8: what is sought")
  add("--labels", type=_names, default=[], help="of 1: what is detected")
  add("--against", type=Path, help="of 8 and 9: another model beside it")
  _add_draw(add, required=True)
  return made


def _add_image(add: Callable) -> None:
  add("--image", type=Path, required=True, help="a picture file")


def _add_images(add: Callable) -> None:
  add("--image", type=Path, required=True, nargs="+", help="picture files")


def _add_search(add: Callable) -> None:
  """The fields of `Writing`; what is not given is the run's own."""
  add("--search", choices=("beam", "nucleus"), help="else as the run has it")
  add("--beams", type=_positive, help="kept; 1 takes the likeliest token")
  add("--top_p", type=float, help="nucleus: share that is drawn from")
  add("--shortest", type=int, help="tokens at least")
  add("--longest", type=_positive, help="tokens at most")
  add("--repetition_penalty", type=float, help="of repeated tokens; 1 = none")


def _add_draw(add: Callable, required: bool = False) -> None:
  about = "also paint the answer: a .png file to write"
  add("--draw", type=Path, required=required, help=about)
  add("--force", action="store_true", help="replace that file")


def search(arguments: argparse.Namespace) -> dict[str, Any]:
  """What was given of how to write: fields of `slan_jax.tasks.config.Writing`.

  Args:
    arguments: of `caption` or `ask`.
  """
  values = {name: getattr(arguments, name) for name in _WRITING}
  return {name: value for name, value in values.items() if value is not None}


def _names(text: str) -> list[str]:
  return [name.strip() for name in text.split(",")]


def _positive(text: str) -> int:
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{text} is not at least 1")
  return value


def drawings(arguments: argparse.Namespace) -> list[Path]:
  """Where the pictures of an answer go: OUT.png, OUT-2.png, ...

  Raises:
    ValueError, OSError: one could not be written, or is there already.
  """
  first = getattr(arguments, "draw", None)
  if first is None:
    return []
  count = len(arguments.text) if arguments.verb == "retrieve" else 1
  paths = [
    first.with_stem(f"{first.stem}-{k + 1}") if k else first
    for k in range(count)
  ]
  for path in paths:
    if path.suffix.lower() != ".png":
      raise ValueError(f"--draw={path}: expected a name that ends in .png")
    if path.is_dir() or (path.exists() and not arguments.force):
      raise FileExistsError(f"--draw={path}: exists; --force replaces a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
      raise OSError(f"--draw={path}: {path.parent} is no folder to write to")
  return paths
