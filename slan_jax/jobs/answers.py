"""A trained model that answers questions about a user's own pictures.

    from slan_jax.jobs.answers import Answers
    model = Answers.open("runs/scenes")
    print(model.ground("a.png", "a red ring above a blue star"))
    print(model.score(["a.png"], ["a red ring", "a blue star"]))
    print(model.retrieve("DIR", ["a red ring"], top=3))

Every answer is a list of JSON objects, those that slan-predict prints; their
keys stand in docs/CONTRACTS.md.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slan_jax.evaluation.calibration import Calibration
from slan_jax.evaluation.grounding import phrase_answers, to_xyxy
from slan_jax.input.files import read_picture
from slan_jax.interop.twin import write_captions
from slan_jax.jobs import feature_index
from slan_jax.jobs.model_directory import read_trained
from slan_jax.jobs.phrases import find_phrases
from slan_jax.jobs.predictor import Predictor, Words

LOG = logging.getLogger(__name__)
Line = dict[str, Any]
Name = str | Path


class Answers:
  """The verbs of slan-predict.

  Attributes:
    predictor: encodes and scores.
    source: where the model was read from.
  """

  def __init__(self, predictor: Predictor, source: Name):
    """Takes a model that is read already; `open` reads one."""
    self.predictor, self.source = predictor, Path(source)

  @classmethod
  def open(
    cls,
    directory: Name,
    *,
    checkpoint: str = "last",
    batch: int = 16,
    progress: bool = False,
  ) -> "Answers":
    """Reads the model of a directory.

    Args:
      directory: an export, or the work directory of a run.
      checkpoint: of a run: step, "last" or "best".
      batch: images or pairs at once.
      progress: whether to show bars.

    Raises:
      ValueError, InputError: neither, or damaged; says which and where.
    """
    trained = read_trained(Path(directory), checkpoint)
    return cls(Predictor(trained, batch=batch, progress=progress), directory)

  def retrieve(
    self,
    images: Name,
    texts: Sequence[str],
    *,
    top: int = 5,
    rerank: int = 32,
    index: Name | None = None,
  ) -> list[Line]:
    """Pictures of a folder for each text: ITC finds candidates, ITM ranks them.

    What is not looked at again comes after, by ITC.

    Args:
      images: the folder.
      texts: to find pictures for.
      top: pictures of an answer.
      rerank: candidates looked at again.
      index: file of features; None = in the folder itself.

    Raises:
      InputError, ValueError, OSError: no text, no picture, or a file at `index`
        that is something else or cannot be written.
    """
    words, images = self.words(texts), Path(images)
    path = Path(index) if index else images / feature_index.NAME
    found = feature_index.open_index(self.predictor, images, path)
    states = self.predictor.text_states(words)
    cosine = np.asarray(states.embedding) @ found.embedding.T  # [T, I]
    first = np.argsort(-cosine, axis=1, kind="stable")
    chosen = np.unique(first[:, :rerank])
    wanted = np.zeros((len(chosen), len(cosine)), bool)
    for text, order in enumerate(first[:, :rerank]):
      wanted[np.searchsorted(chosen, order), text] = True
    files = self.predictor.file_chunks([found.paths[row] for row in chosen])
    odds = self.predictor.match(files, states, wanted)
    lines: list[Line] = []
    for number, text in enumerate(texts):
      head, tail = np.split(first[number], [rerank])
      again = odds[np.searchsorted(chosen, head), number]
      best = np.argsort(-again, kind="stable")
      rows = [*zip(head[best], again[best]), *((row, None) for row in tail)]
      lines += [
        {
          "text": text,
          "rank": rank,
          "image": str(found.paths[row]),
          "itc": _digits(cosine[number, row]),
          **self._match(value),
        }
        for rank, (row, value) in enumerate(rows[:top], 1)
      ]
    return lines

  def score(self, images: Sequence[Name], texts: Sequence[str]) -> list[Line]:
    """Every picture with every text.

    Raises:
      InputError: an unreadable picture, or a text without a known word.
    """
    states = self.predictor.text_states(self.words(texts))
    chunks = self.predictor.file_chunks(images)
    embedding = self.predictor.embeddings(chunks)
    cosine = embedding @ np.asarray(states.embedding).T
    odds = self.predictor.match(chunks, states, np.ones(cosine.shape, bool))
    return [
      {
        "image": str(path),
        "text": text,
        "itc": _digits(cosine[row, column]),
        **self._match(odds[row, column]),
      }
      for row, path in enumerate(images)
      for column, text in enumerate(texts)
    ]

  def ground(
    self, image: Name, text: str, *, phrases: Sequence[str] = ()
  ) -> list[Line]:
    """The best kept region of every phrase, in pixels of the file.

    Args:
      image: a picture.
      text: about it.
      phrases: parts of the text; none = all runs of content words.

    Raises:
      InputError: an unreadable picture, a text without a known word, or a
        phrase that is no part of it.
    """
    words = self.words([text])
    found = find_phrases(
      self.predictor.encoder, text, words.tokens[0], list(phrases)
    )
    height, width = read_picture(Path(image)).shape[:2]
    states = self.predictor.ground(image, words)
    states["boxes"] = to_xyxy(states["boxes"])
    tokens = np.stack([phrase.tokens for phrase in found])
    boxes, scores, _ = phrase_answers(states, tokens)
    lines = []
    for phrase, values in zip(found, scores[:, -1]):
      region = int(np.argmax(values))
      lines.append(
        {
          "image": str(image),
          "text": text,
          "phrase": phrase.text,
          "start": phrase.start,
          "end": phrase.end,
          "box": _pixels(boxes[-1, region], width, height),
          "score": _digits(values[region]),
        }
      )
    return lines

  def caption(
    self, images: Sequence[Name], *, beams: int = 3, longest: int = 20
  ) -> list[Line]:
    """Captions by the text decoder, which searches in PyTorch.

    Args:
      images: pictures.
      beams: 1 = greedy.
      longest: tokens at most.

    Raises:
      InputError: an unreadable picture.
      ValueError: the decoder was not trained, or torch is not installed.
    """
    trained = self.predictor.trained
    if not trained.captions:
      raise ValueError(
        f"{self.source}: its text decoder was not trained (objective.lm was "
        "0), so it cannot write captions; train with --config.objective.lm=1"
      )
    try:
      rows = write_captions(
        trained, self.predictor.pictures(images), beams=beams, longest=longest
      )
    except ImportError as error:
      raise ValueError(
        "captions are written with PyTorch: pip install slan_jax[torch]"
      ) from error
    decode = self.predictor.encoder.decode
    return [
      {"image": str(path), "caption": decode(ids)}
      for path, ids in zip(images, rows)
    ]

  def words(self, texts: Sequence[str]) -> Words:
    """Token ids of texts; what was not understood becomes a warning.

    Raises:
      InputError: an empty text, or one without a single known word.
    """
    words = self.predictor.words(texts)
    for text, notes in zip(texts, words.notes):
      for note in notes:
        LOG.warning("%r: %s", text, note)
    return words

  def _match(self, log_odds: float | None) -> Line:
    """ITM's log odds, the probability that they mean, and by what."""
    fitted = self.predictor.calibration
    if fitted is None:
      self._warn_once()
    if log_odds is None:
      return {"itm": None, "match": None, "calibrated": fitted is not None}
    return {
      "itm": _digits(log_odds),
      "match": _digits((fitted or Calibration())(log_odds)),
      "calibrated": fitted is not None,
    }

  _warned = False

  def _warn_once(self) -> None:
    if not self._warned:
      LOG.warning(
        "%s: never calibrated, so `match` is the bare sigmoid of `itm`; "
        "slan-calibrate fits a run, an export takes its calibration along",
        self.source,
      )
    self._warned = True


def _digits(value: Any) -> float:
  """Six digits behind the point: more means nothing in float32."""
  return round(float(value), 6)


def _pixels(box: np.ndarray, width: int, height: int) -> list[float]:
  """xyxy in [0, 1] as left, top, right, bottom in pixels."""
  return [round(float(x), 1) for x in box * [width, height, width, height]]
