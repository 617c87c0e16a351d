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
from slan_jax.jobs import feature_index
from slan_jax.jobs.model_directory import read_trained
from slan_jax.jobs.phrases import find_phrases
from slan_jax.jobs.predictor import Predictor, Words
from slan_jax.jobs.search import search

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
      ValueError, InputError: neither, or damaged; says which and where. That
        a run's arrays are of another model shows when they are used.
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
    answers = search(self.predictor, found, words, rerank=rerank)
    return [
      {
        "text": text,
        "rank": rank,
        "image": str(found.paths[hit.row]),
        "itc": _digits(hit.itc),
        **self._match(hit.log_odds),
      }
      for text, hits in zip(texts, answers)
      for rank, hit in enumerate(hits[:top], 1)
    ]

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

  def caption(self, images: Sequence[Name], **write: Any) -> list[Line]:
    """Captions by the text decoder, in the way that the run configured.

    Args:
      images: pictures.
      **write: in place of fields of the run's `captioning.write`: search,
        beams, top_p, shortest, longest, repetition_penalty.

    Raises:
      InputError: an unreadable picture.
      ValueError: the decoder never learned captions, or fields that do not fit
        together.
    """
    if not self.predictor.trained.captions:
      raise ValueError(
        f"{self.source}: its text decoder never learned captions, so it cannot "
        "write any; pre-train with --config.objective.lm=1, or fine-tune with "
        "configs/finetune.py:captioning"
      )
    # Imported here, as below: each verb loads what it needs.
    from slan_jax.jobs.written import captions

    found = captions(self.predictor, images, write)
    return [
      {"image": str(path), "caption": text} for path, text in zip(images, found)
    ]

  def ask(
    self, image: Name, questions: Sequence[str], **write: Any
  ) -> list[Line]:
    """Answers to questions about a picture, in any words.

    Args:
      image: a picture.
      questions: about it.
      **write: as `caption`, in place of fields of the run's `vqa.write`.

    Raises:
      InputError: an unreadable picture, or a question without a known word.
      ValueError: the decoder was not trained, or fields that do not fit
        together.
    """
    task = self.predictor.trained.training.get("task")
    if task != "vqa" and not self.predictor.trained.captions:
      raise ValueError(
        f"{self.source}: its text decoder was not trained, so it cannot "
        "answer; fine-tune with configs/finetune.py:vqa"
      )
    if task != "vqa":
      LOG.warning(
        "%s: trained for %s, never on questions (configs/finetune.py:vqa)",
        self.source, task,
      )  # fmt: skip
    from slan_jax.jobs.written import answers

    words = self.words(questions, "--question")
    found = answers(self.predictor, image, words, write)
    return [
      {"image": str(image), "question": question, "answer": text}
      for question, text in zip(questions, found)
    ]

  def detect(
    self,
    image: Name,
    labels: Sequence[str],
    *,
    most: int = 10,
    share: float = 0.02,
  ) -> list[Line]:
    """Boxes of named things, in pixels of the file, the surest first.

    Args:
      image: a picture.
      labels: what to look for.
      most: boxes at most.
      share: of the best score, under which a box is not told. Scores of a model
        that never learned from boxes are small and mean little by themselves;
        something is always the best.

    Raises:
      InputError: an unreadable picture, or no label, an empty or repeated one,
        one without a known word or one longer than a prompt.
    """
    from slan_jax.jobs import prompted

    # Refuses what the tokenizer does not know.
    named = [label.replace("_", " ") for label in labels]
    self.predictor.words(named, "--labels")
    prompts = prompted.write_prompts(self.predictor.trained, labels)
    boxes, scores, classes = prompted.detect(self.predictor, image, prompts)
    height, width = read_picture(Path(image)).shape[:2]
    return [
      {
        "image": str(image),
        "label": labels[number],
        "box": _pixels(box, width, height),
        "score": _digits(score),
      }
      for box, score, number in zip(boxes, scores, classes)
      if score >= share * scores[0]
    ][:most]

  def words(self, texts: Sequence[str], option: str = "--text") -> Words:
    """Token ids of texts; what was not understood becomes a warning.

    Raises:
      InputError: an empty text, or one without a single known word.
    """
    words = self.predictor.words(texts, option)
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
