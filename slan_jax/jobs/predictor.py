"""A trained model, from a run or from an export, ready for a user's files."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from slan_jax.evaluation import evaluator
from slan_jax.evaluation.calibration import Calibration
from slan_jax.evaluation.evaluator import Batching
from slan_jax.evaluation.grounding import Examples, take_snapshot
from slan_jax.evaluation.phrase_recall import Truth
from slan_jax.input.errors import InputError
from slan_jax.input.files import PictureFiles
from slan_jax.input.text import TextEncoder
from slan_jax.interop.export import CALIBRATION, Trained
from slan_jax.interop.problems import LoadError
from slan_jax.jobs.model_directory import trained_settings
from slan_jax.models.slan import Slan
from slan_jax.tasks import retrieval
from slan_jax.tasks.config import Localisation

Tree = Any


class Words(NamedTuple):
  """Texts as the model takes them.

  Attributes:
    tokens: int32 [T, N]. mask: bool [T, N].
    texts: themselves.
    notes: what the reader should know of each text, such as unknown words.
  """

  tokens: np.ndarray
  mask: np.ndarray
  texts: list[str]
  notes: list[list[str]]


class Predictor:
  """Encodes and scores, in batches of one size.

  Attributes:
    trained: the model.
    encoder: its tokenizer.
    calibration: of the log odds of a match; None = never fitted.
    params: on the device.
    predict: named functions of retrieval, as evaluation drives them.
  """

  def __init__(self, trained: Trained, *, batch: int, progress: bool):
    """Compiles nothing yet.

    Args:
      trained: of `slan_jax.jobs.model_directory.read_trained`.
      batch: images, texts or pairs at once.
      progress: whether to show bars.
    """
    self.trained = trained
    self.encoder = TextEncoder(
      Tokenizer.from_str(trained.tokenizer), trained.max_length
    )
    self.calibration = _calibration(trained.calibration)
    self.params = jax.device_put(trained.params)
    self.predict = retrieval.predictions(Slan(trained.model))
    self._batch, self._progress = batch, progress

  @functools.cached_property
  def locate(self) -> dict[str, Callable]:
    """Those functions that look for phrases."""
    # Imported here: whoever compares texts only does not wait for it.
    from slan_jax.tasks import grounding

    trained = self.trained
    if trained.training.get("task") != "grounding":
      return self.predict | grounding.predictions(Slan(trained.model))
    # Regions and scores of a model that learned from the boxes of phrases.
    return grounding.make_task(
      trained.model,
      trained_settings(trained, "localisation", Localisation),
      batch_size=1,
      microbatches=1,
      max_length=trained.max_length,
      phrases=1,
      boxes=1,
    ).predict

  def fingerprint(self) -> str:
    """Sixteen hexadecimal digits of shapes and parameters."""
    digest = hashlib.sha256(repr(self.trained.model).encode())
    for leaf in jax.tree.leaves(self.trained.params):
      digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]

  def words(self, texts: Sequence[str], option: str = "--text") -> Words:
    """Token ids of texts.

    Args:
      texts: of the user.
      option: where they were given, for errors.

    Raises:
      InputError: an empty text, or one without a single known word.
    """
    for text in texts:
      if not text.strip():
        raise InputError(f"{option}: one is empty; expected some words")
    encoded = self.encoder(texts)
    notes = []
    for text, ids, mask, cut in zip(
      texts, encoded.ids, encoded.mask, encoded.truncated
    ):
      inner = ids[mask][1:-1]
      unknown = int((inner == self.encoder.unk_id).sum())
      if not len(inner) or unknown == len(inner):
        raise InputError(
          f"{option}: no word of {text!r} is known to this model's tokenizer; "
          "write it in the language and script of its training captions"
        )
      note = [f"{unknown} unknown words"] if unknown else []
      notes.append(note + (["text cut off"] if cut else []))
    return Words(encoded.ids, encoded.mask, list(texts), notes)

  def pictures(self, paths: Sequence[Path]) -> np.ndarray:
    """Picture files as the model takes them: uint8 [n, S, S, 3]."""
    files = PictureFiles(paths, self.trained.model.image_size)
    return files[np.arange(len(paths))]

  def chunks(self, images: Any, count: int) -> evaluator.ImageChunks:
    """Images as evaluation keeps them: encoded when asked for.

    Args:
      images: uint8 [I, S, S, 3], or what an int array of rows indexes.
      count: I.
    """
    return evaluator.ImageChunks(
      self.predict, self.params, images, count, self.batching(count)
    )

  def file_chunks(self, paths: Sequence[Path]) -> evaluator.ImageChunks:
    """The same of picture files."""
    files = PictureFiles(paths, self.trained.model.image_size)
    return self.chunks(files, len(paths))

  def embeddings(self, chunks: evaluator.ImageChunks) -> np.ndarray:
    """Unit vectors of images: float32 [I, E]."""
    made = []
    batching = self.batching(chunks.images)
    with evaluator.progress_bar("images", batching) as bar:
      for chunk in range(len(chunks)):
        used = len(chunks.rows(chunk))
        states = chunks.states(chunk)
        made.append(np.asarray(states.embedding)[:used])
        bar.update(used)
    return np.concatenate(made)

  def text_states(self, words: Words) -> Tree:
    """States of texts on the host, leading axis T."""
    batching = self.batching(len(words.tokens))
    with evaluator.progress_bar("texts", batching) as bar:
      return evaluator.encode_texts(
        self.predict, self.params, words.tokens, words.mask, batching, bar
      )

  def match(
    self, chunks: evaluator.ImageChunks, texts: Tree, wanted: np.ndarray
  ) -> np.ndarray:
    """Log odds that images and texts match.

    Args:
      chunks: I images.
      texts: of `text_states`.
      wanted: bool [I, T], the pairs to score.

    Returns:
      float32 [I, T]; zero where not wanted.
    """
    batching = self.batching(int(wanted.sum()))
    with evaluator.progress_bar("pairs", batching) as bar:
      return evaluator.score_pairs(
        self.predict["itm"], self.params, chunks, texts, wanted, batching, bar
      )

  def ground(self, path: Path, words: Words) -> dict[str, np.ndarray]:
    """What `ground` of slan_jax.tasks.grounding returns, for one image."""
    encode, ground = (
      evaluator.jitted(self.locate[name]) for name in ("encode_image", "ground")
    )
    image = encode(self.params, self.pictures([path]))
    found = ground(self.params, image, words.tokens, words.mask)
    return {name: np.asarray(value)[0] for name, value in found.items()}

  def snapshot(
    self, images: Any, words: Words, phrases: Sequence[Sequence[Any]]
  ) -> dict[str, np.ndarray]:
    """What the pictures of regions are drawn from; see `take_snapshot`.

    Args:
      images: uint8 [E, S, S, 3].
      words: E texts.
      phrases: of each text, `slan_jax.jobs.phrases.Phrase`.
    """
    most = max(map(len, phrases))
    tokens = np.zeros((len(phrases), most, words.tokens.shape[1]), bool)
    for row, found in enumerate(phrases):
      tokens[row, : len(found)] = [phrase.tokens for phrase in found]
    nothing = Truth(np.zeros((0, 4), np.float32), "", 0)
    rows = np.arange(len(phrases))
    return take_snapshot(
      self.locate,
      self.params,
      Examples(
        images, rows, words.tokens, words.mask, tokens,
        [[nothing] * len(found) for found in phrases],
      ),
      captions=words.texts,
      phrases=[[phrase.text for phrase in found] for found in phrases],
      step=0,
      batching=self.batching(len(rows)),
    )  # fmt: skip

  def batching(self, count: int) -> Batching:
    """How `count` images, texts or pairs are fed.

    One alone is not computed as often as a batch has rows.
    """
    size = self._batch if count > 1 else 1
    return Batching(size=size, pairs=size, progress=self._progress)


def _calibration(values: dict[str, Any] | None) -> Calibration | None:
  """Slope and intercept of calibration.json."""
  if values is None:
    return None
  try:
    return Calibration(float(values["slope"]), float(values["intercept"]))
  except (KeyError, TypeError, ValueError) as error:
    raise LoadError(
      f"{CALIBRATION}: damaged ({error!r}); run slan-calibrate again"
    ) from error
