"""Pictures of a user: files and folders as they come."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slan_jax.input import image
from slan_jax.input.errors import BadRecord, InputError

SUFFIXES = (
  ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip


def find_pictures(directory: Path) -> list[Path]:
  """All pictures under a folder, by name, those of hidden folders left out.

  Raises:
    InputError: no such folder, or none in it.
  """
  directory = Path(directory)
  if not directory.is_dir():
    raise InputError(f"{directory}: no such folder")
  found = [
    path
    for path in sorted(directory.rglob("*"))
    if path.suffix.lower() in SUFFIXES
    and path.is_file()
    and not any(part[0] == "." for part in path.relative_to(directory).parts)
  ]
  if not found:
    raise InputError(
      f"{directory}: no pictures in it; expected files that end in "
      f"{', '.join(SUFFIXES)}"
    )
  return found


def read_picture(path: Path) -> np.ndarray:
  """A picture file, in stored orientation as in training: [h, w, 3] uint8.

  Raises:
    InputError: missing, damaged, too small or too large; names the file.
  """
  try:
    return image.decode(Path(path).read_bytes())
  except BadRecord as error:
    raise InputError(f"{path}: {error}") from error
  except OSError as error:
    raise InputError(f"{path}: not readable ({error.strerror})") from error


class PictureFiles:
  """Files that decode to [n, S, S, 3] uint8 when indexed by rows."""

  def __init__(self, paths: Sequence[Path], side: int):
    """Reads nothing yet.

    Args:
      paths: of the pictures.
      side: S, pixels of each square.
    """
    self._paths, self._side = paths, side

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """The pictures of several rows; a repeated row is read once."""
    made = {
      row: image.resize(read_picture(self._paths[row]), self._side)
      for row in dict.fromkeys(map(int, rows))
    }
    return np.stack([made[int(row)] for row in rows])
