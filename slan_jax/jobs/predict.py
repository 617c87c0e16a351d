"""`slan-predict VERB --model DIR ...`: a model on a user's own files."""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from slan_jax.input.files import read_picture
from slan_jax.jobs import common, questions
from slan_jax.jobs.answers import Answers, Line
from slan_jax.tasks.parameters import fitting


def main() -> None:
  """Console script."""
  common.keep_compiled()
  common.launch_parsed(questions.parser(), predict)


def predict(arguments: argparse.Namespace) -> int:
  """Answers one question, a JSON object per line on stdout.

  Args:
    arguments: of `questions.parser`.

  Returns:
    Exit code 0.

  Raises:
    ValueError, InputError, OSError: bad input; nothing was written.
  """
  pictures = questions.drawings(arguments)
  with fitting(arguments.model):
    model = _open(arguments, arguments.model)
    lines = _VERBS[arguments.verb](model, arguments)
  if pictures and arguments.verb != "figure":
    _draw(arguments, lines, pictures)
  _print(lines, as_table=sys.stdout.isatty() and not arguments.json)
  return 0


def _print(lines: list[Line], as_table: bool) -> None:
  try:
    if as_table:
      # Imported here, as below: only who needs them waits for them.
      from rich.console import Console

      from slan_jax.evaluation.table import answer_table

      Console().print(answer_table(lines))
    for line in [] if as_table else lines:
      print(json.dumps(line, ensure_ascii=False))
    sys.stdout.flush()
  except BrokenPipeError:
    # A reader as `head` has seen enough; nothing is left to flush at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open(arguments: argparse.Namespace, directory: Path) -> Answers:
  return Answers.open(
    directory,
    checkpoint=arguments.checkpoint,
    batch=arguments.batch,
    progress=sys.stderr.isatty(),
  )


def _retrieve(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.retrieve(
    arguments.images,
    arguments.text,
    top=arguments.top,
    rerank=arguments.rerank,
    index=arguments.index,
  )


def _score(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.score(arguments.image, arguments.text)


def _ground(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.ground(arguments.image, arguments.text, phrases=arguments.phrase)


def _caption(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.caption(arguments.image, **questions.search(arguments))


def _detect(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.detect(
    arguments.image,
    arguments.labels,
    most=arguments.most,
    share=arguments.share,
  )


def _ask(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  return model.ask(
    arguments.image, arguments.question, **questions.search(arguments)
  )


def _figure(model: Answers, arguments: argparse.Namespace) -> list[Line]:
  from slan_jax.jobs.figures import Subject, draw_figure

  against = arguments.against and _open(arguments, arguments.against)
  subject = Subject(
    arguments.images, arguments.text, arguments.right, arguments.labels
  )
  path = draw_figure(arguments.number, model, subject, arguments.draw, against)
  return [{"figure": arguments.number, "picture": str(path)}]


_VERBS = {
  "retrieve": _retrieve,
  "score": _score,
  "ground": _ground,
  "detect": _detect,
  "ask": _ask,
  "caption": _caption,
  "figure": _figure,
}


def _draw(
  arguments: argparse.Namespace, lines: list[Line], paths: list[Path]
) -> None:
  """Paints what a text found, or boxes in their colours."""
  from slan_jax.evaluation.answer_pictures import draw_found, draw_grounding

  if arguments.verb == "retrieve":
    for text, path in zip(arguments.text, paths):
      files = [Path(line["image"]) for line in lines if line["text"] == text]
      names = [file.name for file in files]
      draw_found(text, [read_picture(file) for file in files], names, path)
    return
  picture = read_picture(arguments.image)
  height, width = picture.shape[:2]
  boxes = np.array([line["box"] for line in lines]).reshape(-1, 4)
  boxes = boxes / [width, height, width, height]
  if arguments.verb == "ground":
    text, names = arguments.text, [line["phrase"] for line in lines]
    owners = None
  else:
    text, names = "detect: " + ", ".join(arguments.labels), arguments.labels
    owners = [names.index(line["label"]) for line in lines]
  draw_grounding(picture, text, names, boxes, paths[0], owners)


if __name__ == "__main__":
  main()
