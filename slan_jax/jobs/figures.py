"""The paper's figures of one's own images and texts, from one's own model."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.evaluation import region_pictures
from slan_jax.evaluation.figure_pictures import (
  Panel,
  draw_models,
  draw_tasks,
  draw_texts,
)
from slan_jax.evaluation.grounding import phrase_answers, to_xyxy
from slan_jax.evaluation.retrieval_pictures import FOUND, draw_retrieval
from slan_jax.evaluation.snapshot import load_snapshots
from slan_jax.input.errors import InputError
from slan_jax.input.files import read_picture
from slan_jax.interop.exported import is_export
from slan_jax.jobs.answers import Answers
from slan_jax.jobs.phrases import Phrase, find_phrases

Arrays = region_pictures.Arrays


class Subject(NamedTuple):
  """What a figure shows.

  Attributes:
    images: picture files; of Figure 8 one folder.
    texts: as many as images, or one image with several texts.
    right: of Figure 8, the picture that each text was written for; () = not
      known.
    labels: of Figure 1, what is detected; () = no panel.
  """

  images: Sequence[Path]
  texts: Sequence[str]
  right: Sequence[Path] = ()
  labels: Sequence[str] = ()


def draw_figure(
  number: int, model: Answers, subject: Subject, path: Path,
  against: Answers | None = None,
) -> Path:  # fmt: skip
  """Draws a figure after the paper's.

  Args:
    number: of the paper's figure, 1 or 4 to 9.
    model: answers.
    subject: images and texts; Figure 5 without any shows the run's own.
    path: of the PNG.
    against: another model, for Figures 8 and 9.

  Returns:
    The path.

  Raises:
    InputError, ValueError: images, texts or the run do not suffice.
  """
  models = [model] if against is None else [model, against]
  if len(models) > 1 and number not in (8, 9):
    raise ValueError(f"--against: figure {number} shows one model alone")
  for option, value, owner in (
    ("--right", subject.right, 8),
    ("--labels", subject.labels, 1),
  ):
    if value and number != owner:
      raise InputError(f"{option} belongs to figure {owner}, not {number}")
  given = bool(subject.images), bool(subject.texts)
  if given != (True, True) and not (number == 5 and not any(given)):
    raise InputError(f"figure {number} needs --images and --text")
  if number == 5:
    return _training(model, subject, path)
  if number == 8:
    return _retrieval(models, subject, path)
  if number == 1:
    return _tasks(model, subject, path)
  found = [snapshot(each, subject) for each in models]
  if number == 9:
    return draw_models(found, [each.source.name for each in models], path)
  if number == 4:
    return draw_texts(found[0], path)
  draw = {6: region_pictures.draw_levels, 7: region_pictures.draw_filter}
  return draw[number](found[0], path, examples=len(subject.texts))


def snapshot(model: Answers, subject: Subject) -> Arrays:
  """What the pictures of regions are drawn from, with whole images."""
  images = [Path(path) for path in subject.images]
  if len(images) == 1:
    images = images * len(subject.texts)
  if len(images) != len(subject.texts):
    raise InputError(
      f"{len(images)} --images and {len(subject.texts)} --text: give one text "
      "for each image, or one image"
    )
  predictor = model.predictor
  words = model.words(subject.texts)
  phrases = [
    find_phrases(predictor.encoder, text, tokens, [])
    for text, tokens in zip(words.texts, words.tokens)
  ]
  arrays = predictor.snapshot(predictor.pictures(images), words, phrases)
  return arrays | {"image": [read_picture(path) for path in images]}


def _training(model: Answers, subject: Subject, path: Path) -> Path:
  """Figure 5: the run's own snapshots, or its checkpoints on given images."""
  if is_export(model.source):
    raise ValueError(
      f"{model.source}: an export knows nothing of its training; figure 5 "
      "needs the work directory of the run"
    )
  if not subject.images:
    found = load_snapshots(model.source)
    if not found:
      raise ValueError(
        f"{model.source}: holds no snapshots; train with "
        "evaluation.every_steps above 0, or give --images and --text"
      )
    return region_pictures.draw_training(found, path)
  # Imported here: only who asks for checkpoints needs what reads them.
  from slan_jax.jobs.workdir import open_checkpoints

  found = []
  for step in open_checkpoints(model.source).steps():
    there = Answers.open(model.source, checkpoint=str(step))
    found.append(snapshot(there, subject) | {"step": np.array(step)})
  rows = len(subject.texts)
  return region_pictures.draw_training(found, path, examples=rows)


def _retrieval(models: Sequence[Answers], subject: Subject, path: Path) -> Path:
  """Figure 8: the first pictures of each text, row under row by each model."""
  if subject.right and len(subject.right) != len(subject.texts):
    raise InputError("--right: expected one picture for each text")
  if len(subject.images) != 1:
    raise InputError("figure 8 searches one folder: give --images that alone")
  (folder,) = subject.images
  queries, images, right, ranks = [], [], [], []
  for number, text in enumerate(subject.texts):
    wanted = subject.right[number].resolve() if subject.right else None
    for model in models:
      # All of them: the right one may be found late.
      lines = model.retrieve(folder, [text], top=10**9)
      names = [Path(line["image"]) for line in lines]
      places = [k for k, name in enumerate(names) if name.resolve() == wanted]
      if wanted and not places:
        raise InputError(f"--right: {wanted} is no picture of {folder}")
      queries.append(text if len(models) == 1 else f"{model.source}: {text}")
      images.append([read_picture(name) for name in names[:FOUND]])
      right.append([k in places for k in range(len(images[-1]))])
      ranks.append(places[0] + 1 if places else 0)
  arrays = {"query": queries, "image": images, "rank": ranks}
  return draw_retrieval(arrays | {"right": np.array(right)}, path)


def _tasks(model: Answers, subject: Subject, path: Path) -> Path:
  """Figure 1: retrieval's map, a caption's regions, detection, grounding."""
  if len(subject.images) != 1 or len(subject.texts) != 1:
    raise InputError("figure 1 shows one image with one text")
  (image,), (text,) = subject.images, subject.texts
  words = model.words([text])
  states = model.predictor.ground(image, words)
  states["boxes"] = to_xyxy(states["boxes"])
  phrases = find_phrases(model.predictor.encoder, text, words.tokens[0], [])
  panels = [_activation(states, text, phrases), _caption(model, image, states)]
  picture = read_picture(image)
  if subject.labels:
    panels.append(_detection(model, image, picture, subject.labels))
  lines = model.ground(image, text)
  panels.append(
    Panel(
      "phrase grounding",
      text,
      _fractions(lines, picture),
      [f"{line['phrase']} {line['score']:.2f}" for line in lines],
    )
  )
  return draw_tasks(picture, panels, path)


def _activation(states: Arrays, text: str, phrases: list[Phrase]) -> Panel:
  """Where the text is, at its likeliest phrase."""
  tokens = np.stack([phrase.tokens for phrase in phrases])
  _, _, maps = phrase_answers(states, tokens)
  heat = np.max([found for found in maps if found is not None], axis=0)
  return Panel("text to image retrieval", text, np.zeros((0, 4)), [], heat)


def _caption(model: Answers, image: Path, states: Arrays) -> Panel:
  """The regions that the filter keeps, under a caption if there can be one."""
  text = "The regions that are kept"
  if model.predictor.trained.captions:
    text = model.caption([image])[0]["caption"]
  kept = states["region_mask"].astype(bool)
  boxes = states["boxes"][0][kept]
  return Panel("caption", text, boxes, [""] * len(boxes))


def _detection(
  model: Answers, image: Path, picture: np.ndarray, labels: Sequence[str]
) -> Panel:
  """The boxes of named things."""
  lines = model.detect(image, labels)
  return Panel(
    "object detection",
    "detect: " + ", ".join(labels),
    _fractions(lines, picture),
    [f"{line['label']} {line['score']:.2f}" for line in lines],
  )


def _fractions(lines: Sequence[dict], picture: np.ndarray) -> np.ndarray:
  """Boxes of lines in pixels as fractions of the image: [n,4]."""
  height, width = picture.shape[:2]
  boxes = np.array([line["box"] for line in lines]).reshape(-1, 4)
  return boxes / [width, height, width, height]
