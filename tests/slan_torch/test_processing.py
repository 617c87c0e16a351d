"""A user's pictures and texts, and what is none."""

import numpy as np
import pytest
from PIL import Image

from data.vocabulary import words_tokenizer
from slan_torch import processing
from slan_torch.processing import Processor


@pytest.fixture
def processor():
  return Processor(words_tokenizer(("red", "ring")), 16, 8, None)


def test_files_and_pictures_are_one(processor, tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3))
  picture = Image.fromarray(noise.astype(np.uint8))
  picture.save(tmp_path / "a.png")
  found = processor.images([picture, tmp_path / "a.png"])
  assert found.shape == (2, 16, 16, 3) and (found[0] == found[1]).all()


def test_what_is_no_picture_is_named(processor, tmp_path, monkeypatch):
  (tmp_path / "a.png").write_bytes(b"no picture")
  noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3))
  Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "b.png")
  whole = (tmp_path / "b.png").read_bytes()
  (tmp_path / "c.png").write_bytes(whole[: len(whole) // 2])
  for name in ("a.png", "c.png", "missing.png"):
    with pytest.raises(ValueError, match=f"{name}: not readable"):
      processor.images([tmp_path / name])
  monkeypatch.setattr(processing, "MOST_PIXELS", 80)
  with pytest.raises(ValueError, match=r"b\.png: over 67 megapixels"):
    processor.images([tmp_path / "b.png"])


def test_texts_need_a_known_word(processor):
  ids, mask = processor.texts(["a red ring", "ring"])
  assert ids.shape == (2, 8) and mask.sum(1).tolist() == [5, 3]
  with pytest.raises(ValueError, match="empty"):
    processor.texts(["ring", " "])
  with pytest.raises(ValueError, match="no word of '\u7d05\u3044\u8f2a'"):
    processor.texts(["ring", "\u7d05\u3044\u8f2a"])
