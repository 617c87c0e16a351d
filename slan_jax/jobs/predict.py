"""`slan-predict retrieve|score|ground|caption --model DIR ...`: own files."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from slan_jax.evaluation.table import answer_table
from slan_jax.input.files import read_picture
from slan_jax.jobs import common
from slan_jax.jobs.answers import Answers

Line = dict[str, Any]


def main() -> None:
  """Console script."""
  common.keep_compiled()
  common.launch_parsed(_parser(), predict)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "slan-predict", description="Answers for your own pictures, as JSON lines."
  )
  verbs = parser.add_subparsers(dest="verb", required=True)

  def verb(name: str, about: str, images: str, many: bool, texts: Any):
    made = verbs.add_parser(name, help=about, description=about)
    add = made.add_argument
    add("--model", type=Path, required=True, help="an export, or a run's home")
    add("--checkpoint", default="last", help="of a run: step, last or best")
    add("--batch", type=_positive, default=16, help="images or pairs at once")
    nargs = "+" if many else None
    add(images, type=Path, required=True, nargs=nargs, help="picture file(s)")
    if texts:
      add("--text", required=True, nargs=texts)
    add("--json", action="store_true", help="JSON lines also on a terminal")
    add("--debug", action="store_true", help="show where an error comes from")
    return add

  add = verb("retrieve", "Finds pictures for texts.", "--images", False, "+")
  add("--top", type=_positive, default=5, help="pictures shown for a text")
  add("--rerank", type=_positive, default=32, help="candidates looked at again")
  add("--index", type=Path, help="file of features; else in the folder itself")
  _add_draw(add)
  verb("score", "Scores pictures with texts.", "--image", True, "+")
  add = verb("ground", "Locates a text's phrases.", "--image", False, 1)
  add("--phrase", action="append", default=[], help="part of the text; repeat")
  _add_draw(add)
  add = verb("caption", "Writes captions (needs torch).", "--image", True, None)
  add("--beams", type=_positive, default=3)
  add("--longest", type=_positive, default=20, help="tokens at most")
  return parser


def _add_draw(add) -> None:
  add("--draw", type=Path, help="also paint the answer: a .png file to write")
  add("--force", action="store_true", help="replace that file")


def _positive(text: str) -> int:
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{text} is not at least 1")
  return value


def predict(arguments: argparse.Namespace) -> int:
  """Answers one question, a JSON object per line on stdout.

  Args:
    arguments: of the parser.

  Returns:
    Exit code 0.

  Raises:
    ValueError, InputError, OSError: bad input; nothing was written.
  """
  if getattr(arguments, "draw", None):
    _check_drawing(arguments.draw, arguments.force)
  model = Answers.open(
    arguments.model,
    checkpoint=arguments.checkpoint,
    batch=arguments.batch,
    progress=sys.stderr.isatty(),
  )
  lines = _VERBS[arguments.verb](model, arguments)
  if sys.stdout.isatty() and not arguments.json:
    Console().print(answer_table(lines))
  else:
    for line in lines:
      print(json.dumps(line, ensure_ascii=False))
  return 0


def _check_drawing(path: Path, force: bool) -> None:
  """Refuses a picture that could not be written, before any work."""
  if path.suffix.lower() != ".png":
    raise ValueError(f"--draw={path}: expected a name that ends in .png")
  if path.is_dir() or (path.exists() and not force):
    raise FileExistsError(f"--draw={path}: exists; --force replaces a file")
  if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
    raise OSError(f"--draw={path}: {path.parent} is no folder to write to")


def _retrieve(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  lines = model.retrieve(
    arguments.images,
    arguments.text,
    top=arguments.top,
    rerank=arguments.rerank,
    index=arguments.index,
  )
  if not arguments.draw:
    return lines
  from slan_jax.evaluation.answer_pictures import draw_found

  for number, text in enumerate(arguments.text):
    path = arguments.draw
    if number:  # OUT.png, OUT-2.png, ...
      path = path.with_stem(f"{path.stem}-{number + 1}")
      _check_drawing(path, arguments.force)
    found = [Path(line["image"]) for line in lines if line["text"] == text]
    images = [read_picture(path) for path in found]
    draw_found(text, images, [path.name for path in found], path)
  return lines


def _score(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.score(arguments.image, arguments.text)


def _ground(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  image, (text,) = arguments.image, arguments.text
  lines = model.ground(image, text, phrases=arguments.phrase)
  if arguments.draw:
    _draw_boxes(arguments, text, lines, "phrase")
  return lines


def _draw_boxes(
  arguments: argparse.Namespace, text: str, lines: list[Line], name: str
) -> None:
  # Imported here, as above: only who draws waits for matplotlib.
  from slan_jax.evaluation.answer_pictures import draw_grounding

  picture = read_picture(arguments.image)
  height, width = picture.shape[:2]
  boxes = np.array([line["box"] for line in lines]).reshape(-1, 4)
  boxes = boxes / [width, height, width, height]
  names = [line[name] for line in lines]
  draw_grounding(picture, text, names, boxes, arguments.draw)


def _caption(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.caption(
    arguments.image, beams=arguments.beams, longest=arguments.longest
  )


_VERBS = {
  "retrieve": _retrieve,
  "score": _score,
  "ground": _ground,
  "caption": _caption,
}


if __name__ == "__main__":
  main()
