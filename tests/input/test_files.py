"""Pictures of a user: what is found, what is refused."""

import numpy as np
import pytest
from PIL import Image

from slan_jax.input.errors import InputError
from slan_jax.input.files import PictureFiles, find_pictures, read_picture


def save(path, colour="red", size=(30, 20)):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size, colour).save(path)
  return path


def test_pictures_of_a_folder(tmp_path):
  wanted = [save(tmp_path / name) for name in ("a.PNG", "more/b.jpg")]
  save(tmp_path / ".hidden" / "c.png")
  (tmp_path / "notes.txt").write_text("none")
  assert find_pictures(tmp_path) == wanted


def test_folders_without_pictures(tmp_path):
  with pytest.raises(InputError, match="no pictures"):
    find_pictures(tmp_path)
  with pytest.raises(InputError, match="no such folder"):
    find_pictures(tmp_path / "nowhere")


def test_unreadable_files_are_named(tmp_path, monkeypatch):
  (tmp_path / "a.png").write_text("text")
  with pytest.raises(InputError, match=r"a\.png: corrupt image"):
    read_picture(tmp_path / "a.png")
  with pytest.raises(InputError, match=r"b\.png: not readable \(No such"):
    read_picture(tmp_path / "b.png")
  monkeypatch.setattr("slan_jax.input.image.MOST_PIXELS", 500)
  with pytest.raises(InputError, match=r"c\.png: image over"):
    read_picture(save(tmp_path / "c.png"))


def test_rows_of_files(tmp_path):
  colours = ("red", "blue")
  paths = [save(tmp_path / f"{name}.png", name) for name in colours]
  found = PictureFiles(paths, 8)[np.array([1, 0, 0])]
  assert found.shape == (3, 8, 8, 3) and found.dtype == np.uint8
  assert found[:, 0, 0].tolist() == [[0, 0, 255], [255, 0, 0], [255, 0, 0]]
