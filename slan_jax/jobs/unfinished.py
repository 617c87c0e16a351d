"""Where `slan-eval` keeps what it has scored until all of it is."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from slan_jax.evaluation.partial import NOTHING, SECONDS, Partial, digest
from slan_jax.input.gallery import Gallery
from slan_jax.training.leaves import checksums, named

Tree = Any
FOLDER = "partial"


class Unfinished(NamedTuple):
  """The folder of an evaluation, and what it was asked.

  Attributes:
    output: directory of metrics.json.
    request: JSON values that decide the scores of given parameters.
  """

  output: Path
  request: dict[str, Any]

  def open(self, name: str, params: Tree, gallery: Gallery) -> Partial:
    """What is finished for these parameters; every process must call this.

    Args:
      name: of the parameters: a folder each.
      params: their bits are part of the key, as a checkpoint of the same step
        may come from another training.
      gallery: its pictures and texts are part of it too.

    Raises:
      ValueError: the folder cannot be written.
    """
    key = digest(self.request, checksums(named(params)), gallery.digest())
    partial = Partial(
      epath.Path(self.output) / FOLDER / name,
      key,
      first=jax.process_index() == 0,
      share=_from_the_first,
      seconds=SECONDS,
    )
    if partial.files():
      print(f"{self.output}: goes on from what was scored of the {name}")
    return partial


def opened(
  unfinished: Unfinished | None, name: str, params: Tree, gallery: Gallery
) -> Partial:
  """As `Unfinished.open`; without one, nothing is kept."""
  if unfinished is None:
    return NOTHING
  return unfinished.open(name, params, gallery)


def forget(output: Path) -> None:
  """Removes what an evaluation kept, once it is not needed any more."""
  folder = epath.Path(output) / FOLDER
  if jax.process_index() == 0 and folder.exists():
    folder.rmtree()


def _from_the_first(array: np.ndarray) -> np.ndarray:
  if jax.process_count() == 1:
    return array
  # As integers: a sum over processes would lose the sign of -0.0.
  bits = multihost_utils.broadcast_one_to_all(array.view(np.int32))
  return np.asarray(bits).view(array.dtype)
