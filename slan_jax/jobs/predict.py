"""`slan-predict retrieve|score|ground|caption --model DIR ...`: own files."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.evaluation.answer_pictures import draw_found, draw_grounding
from slan_jax.evaluation.grounding import phrase_answers, to_xyxy
from slan_jax.input.files import read_picture
from slan_jax.interop.twin import write_captions
from slan_jax.jobs import common, feature_index
from slan_jax.jobs.phrases import find_phrases
from slan_jax.jobs.predictor import Predictor, Words, read_trained

Line = dict[str, Any]
# What is compiled once need not be for the next question.
CACHE = "~/.cache/slan_jax"


def main() -> None:
  """Console script."""
  common.use_compilation_cache(CACHE)
  common.launch_parsed(_parser(), predict)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "slan-predict", description="Answers for your own pictures, as JSON lines."
  )
  verbs = parser.add_subparsers(dest="verb", required=True)

  def verb(name: str, about: str, images: str, many: bool, texts: str | None):
    made = verbs.add_parser(name, help=about, description=about)
    add = made.add_argument
    add("--model", type=Path, required=True, help="an export, or a run's home")
    add("--checkpoint", default="last", help="of a run: step, last or best")
    add("--batch", type=_positive, default=16, help="images or pairs at once")
    nargs = "+" if many else None
    add(images, type=Path, required=True, nargs=nargs, help="picture file(s)")
    if texts:
      add("--text", required=True, nargs=texts if texts == "+" else None)
    add("--debug", action="store_true", help="show where an error comes from")
    return add

  add = verb("retrieve", "Finds pictures for texts.", "--images", False, "+")
  add("--top", type=_positive, default=5, help="pictures shown for a text")
  add("--rerank", type=_positive, default=32, help="candidates looked at again")
  add("--index", type=Path, help="file of features; else in the folder itself")
  _add_draw(add)
  verb("score", "Scores pictures with texts.", "--image", True, "+")
  add = verb("ground", "Locates a text's phrases.", "--image", False, "1")
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
  trained = read_trained(arguments.model, arguments.checkpoint)
  predictor = Predictor(
    trained, batch=arguments.batch, progress=sys.stderr.isatty()
  )
  answer = {
    "retrieve": retrieve,
    "score": score,
    "ground": ground,
    "caption": caption,
  }[arguments.verb]
  for line in list(answer(predictor, arguments)):
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


def _words(predictor: Predictor, texts: list[str]) -> Words:
  words = predictor.words(texts)
  for text, notes in zip(texts, words.notes):
    for note in notes:
      print(f"warning: {text!r}: {note}", file=sys.stderr)
  return words


def _probability(log_odds: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-np.clip(log_odds.astype(np.float64), -50, 50)))


def retrieve(
  predictor: Predictor, arguments: argparse.Namespace
) -> Iterator[Line]:
  """Pictures of a folder for each text: ITC finds candidates, ITM ranks them.

  What is not looked at again comes after, by ITC.
  """
  words = _words(predictor, arguments.text)
  path = arguments.index or arguments.images / feature_index.NAME
  index = feature_index.open_index(predictor, arguments.images, path)
  texts = predictor.text_states(words)
  cosine = np.asarray(texts.embedding) @ index.embedding.T  # [T, I]
  first = np.argsort(-cosine, axis=1, kind="stable")
  chosen = np.unique(first[:, : arguments.rerank])
  place = {int(row): k for k, row in enumerate(chosen)}
  wanted = np.zeros((len(chosen), len(cosine)), bool)
  for text, order in enumerate(first[:, : arguments.rerank]):
    wanted[[place[int(row)] for row in order], text] = True
  odds = predictor.match([index.paths[row] for row in chosen], texts, wanted)
  for number, text in enumerate(arguments.text):
    head, tail = np.split(first[number], [arguments.rerank])
    found = {int(row): odds[place[int(row)], number] for row in head}
    order = [*sorted(found, key=lambda row: -found[row]), *tail]
    order = order[: arguments.top]
    lines = [
      {
        "text": text,
        "rank": rank,
        "image": str(index.paths[row]),
        "itc": float(cosine[number, row]),
        "match": float(_probability(found[row])) if row in found else None,
      }
      for rank, row in enumerate(order, 1)
    ]
    yield from lines
    if arguments.draw:
      _draw_found(arguments, number, lines)


def _draw_found(arguments, number: int, lines: list[Line]) -> None:
  """One picture; with several texts, one for each: OUT.png, OUT-2.png, ..."""
  path = arguments.draw
  if number:
    path = path.with_stem(f"{path.stem}-{number + 1}")
    _check_drawing(path, arguments.force)
  images = [read_picture(Path(line["image"])) for line in lines]
  labels = [Path(line["image"]).name for line in lines]
  draw_found(lines[0]["text"], images, labels, path)


def score(
  predictor: Predictor, arguments: argparse.Namespace
) -> Iterator[Line]:
  """Every picture with every text."""
  words = _words(predictor, arguments.text)
  embedding = predictor.embeddings(arguments.image)
  texts = predictor.text_states(words)
  cosine = embedding @ np.asarray(texts.embedding).T
  odds = predictor.match(arguments.image, texts, np.ones(cosine.shape, bool))
  for row, path in enumerate(arguments.image):
    for column, text in enumerate(arguments.text):
      yield {
        "image": str(path),
        "text": text,
        "itc": float(cosine[row, column]),
        "match": float(_probability(odds[row, column])),
      }


def ground(
  predictor: Predictor, arguments: argparse.Namespace
) -> Iterator[Line]:
  """The best kept region of every phrase, in pixels of the file."""
  text = arguments.text
  words = _words(predictor, [text])
  phrases = find_phrases(
    predictor.encoder, text, words.tokens[0], arguments.phrase
  )
  picture = read_picture(arguments.image)
  states = predictor.ground(arguments.image, words)
  states["boxes"] = to_xyxy(states["boxes"])
  tokens = np.stack([phrase.tokens for phrase in phrases])
  boxes, scores, _ = phrase_answers(states, tokens)
  height, width = picture.shape[:2]
  best = []
  for phrase, values in zip(phrases, scores[:, -1]):
    region = int(np.argmax(values))
    best.append(boxes[-1, region])
    pixels = best[-1] * [width, height, width, height]
    yield {
      "image": str(arguments.image),
      "text": text,
      "phrase": phrase.text,
      "start": phrase.start,
      "end": phrase.end,
      "box": [round(float(value), 1) for value in pixels],
      "score": float(values[region]),
    }
  if arguments.draw:
    names = [phrase.text for phrase in phrases]
    draw_grounding(picture, text, names, np.stack(best), arguments.draw)


def caption(
  predictor: Predictor, arguments: argparse.Namespace
) -> Iterator[Line]:
  """Captions by the text decoder, which searches in PyTorch.

  Raises:
    ValueError: the decoder was not trained, or torch is not installed.
  """
  trained = predictor.trained
  if not trained.captions:
    raise ValueError(
      f"{arguments.model}: its text decoder was not trained (objective.lm was "
      "0), so it cannot write captions; train with --config.objective.lm=1"
    )
  paths = arguments.image
  try:
    rows = write_captions(
      trained,
      predictor.pictures(paths),
      beams=arguments.beams,
      longest=arguments.longest,
    )
  except ImportError as error:
    raise ValueError(
      "captions are written with PyTorch: pip install slan_jax[torch]"
    ) from error
  for path, ids in zip(paths, rows):
    yield {"image": str(path), "caption": predictor.encoder.decode(ids)}
