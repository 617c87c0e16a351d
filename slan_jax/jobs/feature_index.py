"""Image embeddings on disk: a folder is encoded once, then only its changes."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slan_jax.evaluation.files import load_arrays, save_arrays
from slan_jax.input.errors import InputError
from slan_jax.input.files import find_pictures, read_picture
from slan_jax.jobs.predictor import Predictor

LOG = logging.getLogger(__name__)
NAME = ".slan_index.npz"
_AXES = {"model": 0, "name": 1, "changed": 1, "embedding": 2}


class Index(NamedTuple):
  """Pictures of a folder and their unit vectors.

  Attributes:
    paths: of the pictures. embedding: float32 [I, E].
    encoded: how many were encoded now, the others came from the file.
  """

  paths: list[Path]
  embedding: np.ndarray
  encoded: int


def open_index(predictor: Predictor, directory: Path, path: Path) -> Index:
  """Brings the index of a folder up to date.

  Pictures that cannot be read are left out and named in a warning.

  Args:
    predictor: encodes what is new.
    directory: of the pictures.
    path: of the index; another model's is made anew.

  Raises:
    InputError: no readable picture.
    OSError: the index cannot be written.
    ValueError: the file at `path` is something else.
  """
  pictures = find_pictures(directory)
  names = [str(picture.relative_to(directory)) for picture in pictures]
  changed = [_changed(picture) for picture in pictures]
  model = predictor.fingerprint()
  known = _known(path, model)
  new = [
    row for row, name in enumerate(names)
    if (name, changed[row]) not in known
  ]  # fmt: skip
  readable = [row for row in new if _readable(pictures[row])]
  dropped = set(new) - set(readable)
  rows = [row for row in range(len(names)) if row not in dropped]
  if not rows:
    raise InputError(f"{directory}: none of its {len(names)} pictures reads")
  fresh = {}
  if readable:
    files = [pictures[row] for row in readable]
    vectors = predictor.embeddings(predictor.file_chunks(files))
    fresh = dict(zip(readable, vectors))
  embedding = np.stack([
    fresh[row] if row in fresh else known[names[row], changed[row]]
    for row in rows
  ])  # fmt: skip
  if readable or len(known) != len(rows):
    arrays = {
      "model": np.array(model),
      "name": np.array([names[row] for row in rows]),
      "changed": np.array([changed[row] for row in rows]),
      "embedding": embedding,
    }
    save_arrays(path, arrays)
  return Index([pictures[row] for row in rows], embedding, len(readable))


def _known(path: Path, model: str) -> dict[tuple[str, str], np.ndarray]:
  """(name, change) -> vector of an index of the same model."""
  if not path.exists():
    return {}
  arrays = load_arrays(path, _AXES)
  if str(arrays["model"]) != model:
    return {}
  keys = zip(arrays["name"].tolist(), arrays["changed"].tolist())
  return dict(zip(keys, arrays["embedding"]))


def _changed(path: Path) -> str:
  """Time and size: equal for a file that nobody touched."""
  found = path.stat()
  return f"{found.st_mtime_ns}:{found.st_size}"


def _readable(path: Path) -> bool:
  try:
    read_picture(path)
  except InputError as error:
    LOG.warning("left out: %s", error)
    return False
  return True
