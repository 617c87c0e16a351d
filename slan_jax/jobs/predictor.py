"""A trained model, from a run or from an export, ready for a user's files."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from slan_jax.evaluation import evaluator
from slan_jax.evaluation.evaluator import Batching
from slan_jax.input.errors import InputError
from slan_jax.input.files import PictureFiles
from slan_jax.input.text import TextEncoder
from slan_jax.interop import exported
from slan_jax.interop.export import Trained
from slan_jax.interop.problems import LoadError
from slan_jax.jobs.export import read_run
from slan_jax.jobs.typed import to_dataclass
from slan_jax.models import config
from slan_jax.models.slan import Slan
from slan_jax.tasks import grounding, retrieval

Tree = Any


def is_export(directory: Path) -> bool:
  """Whether a directory is an export rather than a run."""
  try:
    values = json.loads((Path(directory) / "config.json").read_text("utf-8"))
    return "model_type" in values
  except (OSError, ValueError):
    return False


def read_trained(directory: Path, checkpoint: str) -> Trained:
  """The model of a directory.

  Args:
    directory: an export, or the work directory of a run.
    checkpoint: of a run: step, "last" or "best".

  Raises:
    ValueError, InputError: neither, or damaged; says which and where.
  """
  directory = Path(directory)
  if not is_export(directory):
    return read_run(directory, checkpoint, "float32", ema=False)
  values, path = exported.read_config(directory), directory / "tokenizer.json"
  try:
    model = to_dataclass(values["model"], config.Slan)
    learned = tuple(values["learned"])
    rest = {k: values[k] for k in ("token_ids", "max_length", "captions")}
  except (KeyError, TypeError, ValueError) as error:
    raise LoadError(
      f"{directory / 'config.json'}: of another version ({error}); export again"
    ) from error
  template = exported.params_template(model, learned)
  params = exported.load_export(directory, template)
  if not path.is_file():
    raise LoadError(f"{path}: missing; export again")
  return Trained(
    model=model,
    params=params,
    tokenizer=path.read_text("utf-8"),
    card="",
    training={},
    **rest,
  )


class Words(NamedTuple):
  """Texts as the model takes them.

  Attributes:
    tokens: int32 [T, N]. mask: bool [T, N].
    notes: what the reader should know of each text, such as unknown words.
  """

  tokens: np.ndarray
  mask: np.ndarray
  notes: list[list[str]]


class Predictor:
  """Encodes and scores, in batches of one size.

  Attributes:
    trained: the model.
    encoder: its tokenizer.
    params: on the device.
    predict: named functions, as evaluation drives them.
  """

  def __init__(self, trained: Trained, *, batch: int, progress: bool):
    """Compiles nothing yet.

    Args:
      trained: of `read_trained`.
      batch: images, texts or pairs at once.
      progress: whether to show bars.
    """
    self.trained, model = trained, Slan(trained.model)
    self.encoder = TextEncoder(
      Tokenizer.from_str(trained.tokenizer), trained.max_length
    )
    self.params = jax.device_put(trained.params)
    self.predict = {
      **retrieval.predictions(model),
      **grounding.predictions(model),
    }
    self._batching = Batching(size=batch, pairs=batch, progress=progress)

  def fingerprint(self) -> str:
    """Sixteen hexadecimal digits of shapes and parameters."""
    digest = hashlib.sha256(repr(self.trained.model).encode())
    for leaf in jax.tree.leaves(self.trained.params):
      digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]

  def words(self, texts: Sequence[str]) -> Words:
    """Token ids of texts.

    Raises:
      InputError: an empty text, or one without a single known word.
    """
    for text in texts:
      if not text.strip():
        raise InputError("--text: a text is empty; expected some words")
    encoded = self.encoder(texts)
    notes = []
    for text, ids, mask, cut in zip(
      texts, encoded.ids, encoded.mask, encoded.truncated
    ):
      inner = ids[mask][1:-1]
      unknown = int((inner == self.encoder.unk_id).sum())
      if not len(inner) or unknown == len(inner):
        raise InputError(
          f"--text: no word of {text!r} is known to this model's tokenizer; "
          "write it in the language and script of its training captions"
        )
      note = [f"{unknown} unknown words"] if unknown else []
      notes.append(note + (["text cut off"] if cut else []))
    return Words(encoded.ids, encoded.mask, notes)

  def pictures(self, paths: Sequence[Path]) -> np.ndarray:
    """Picture files as the model takes them: uint8 [n, S, S, 3]."""
    files = PictureFiles(paths, self.trained.model.image_size)
    return files[np.arange(len(paths))]

  def image_chunks(self, paths: Sequence[Path]) -> evaluator.ImageChunks:
    """Images as evaluation keeps them: encoded when asked for."""
    files = PictureFiles(paths, self.trained.model.image_size)
    return evaluator.ImageChunks(
      self.predict, self.params, files, len(paths), self._batching
    )

  def embeddings(self, paths: Sequence[Path]) -> np.ndarray:
    """Unit vectors of images: float32 [I, E]."""
    chunks, made = self.image_chunks(paths), []
    with evaluator.progress_bar("images", self._batching) as bar:
      for chunk in range(len(chunks)):
        used = len(chunks.rows(chunk))
        states = chunks.states(chunk)
        made.append(np.asarray(states.embedding)[:used])
        bar.update(used)
    return np.concatenate(made)

  def text_states(self, words: Words) -> Tree:
    """States of texts on the host, leading axis T."""
    with evaluator.progress_bar("texts", self._batching) as bar:
      return evaluator.encode_texts(
        self.predict, self.params, words.tokens, words.mask,
        self._batching, bar,
      )  # fmt: skip

  def match(
    self, paths: Sequence[Path], texts: Tree, wanted: np.ndarray
  ) -> np.ndarray:
    """Log odds that images and texts match.

    Args:
      paths: I images.
      texts: of `text_states`.
      wanted: bool [I, T], the pairs to score.

    Returns:
      float32 [I, T]; zero where not wanted.
    """
    with evaluator.progress_bar("pairs", self._batching) as bar:
      return evaluator.score_pairs(
        self.predict["itm"], self.params, self.image_chunks(paths), texts,
        wanted, self._batching, bar,
      )  # fmt: skip

  def ground(self, path: Path, words: Words) -> dict[str, np.ndarray]:
    """What `ground` of slan_jax.tasks.grounding returns, for one image."""
    function = evaluator.jitted(self.predict["ground"])
    image = self.pictures([path])
    found = function(self.params, image, words.tokens, words.mask)
    return {name: np.asarray(value)[0] for name, value in found.items()}
