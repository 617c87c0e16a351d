"""Pictures and texts as the model takes them: pixels and token ids."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from slan_torch.checkpoint import CONFIG, read_json
from slan_torch.config import ExportError, read_config
from slan_torch.detection import Prompts
from slan_torch.prompts import write_prompts

MOST_PIXELS = 2**26  # anything more is taken for a decompression bomb


class Processor:
  """`Processor.from_pretrained(DIR)`: the preprocessing of an export."""

  def __init__(
    self, tokenizer: Tokenizer, image_size: int, max_length: int, detection: Any
  ):
    """Keeps the sizes.

    Args:
      tokenizer: adds [CLS] and [SEP] itself.
      image_size: S, pixels of the square.
      max_length: N, tokens of every text.
      detection: of config.json, how class names become prompts.
    """
    self.tokenizer, self.image_size = tokenizer, image_size
    self.detection = detection
    self._pad, self._unk = map(tokenizer.token_to_id, ("[PAD]", "[UNK]"))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(
      length=max_length, pad_id=self._pad, pad_token="[PAD]"
    )

  @classmethod
  def from_pretrained(cls, directory: str | Path) -> "Processor":
    """Reads config.json and tokenizer.json.

    Raises:
      ExportError: no export.
    """
    directory = Path(directory)
    config = read_config(read_json(directory / CONFIG), str(directory / CONFIG))
    path = directory / "tokenizer.json"
    if not path.is_file():
      raise ExportError(f"{path}: missing, so {directory} is no whole export")
    tokenizer = Tokenizer.from_file(str(path))
    options = config.detection
    options.max_length = min(
      options.max_length, config.model.text.max_positions
    )
    return cls(tokenizer, config.model.image_size, config.max_length, options)

  def images(self, pictures: Sequence[Image.Image | str | Path]) -> Tensor:
    """Pictures or their files, squeezed to a square: uint8 [B, S, S, 3].

    Orientation marks of cameras are not followed, as in training.

    Raises:
      ValueError: a file is no picture, or has more than 67 megapixels.
    """
    side, made = self.image_size, []
    for picture in pictures:
      if not isinstance(picture, Image.Image):
        picture = _read_picture(picture)
      picture = picture.convert("RGB").resize((side, side), Image.BICUBIC)
      made.append(torch.from_numpy(np.array(picture)))
    return torch.stack(made)

  def texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids [B, N] and their mask, bool [B, N]; long texts are cut.

    Raises:
      ValueError: a text is empty, or the tokenizer knows none of its words.
    """
    if not all(text.strip() for text in texts):
      raise ValueError("a text is empty; expected some words")
    encodings = self.tokenizer.encode_batch(list(texts))
    ids = torch.tensor([encoding.ids for encoding in encodings])
    for text, row in zip(texts, ids):
      if (row[row != self._pad][1:-1] == self._unk).all():
        raise ValueError(
          f"no word of {text!r} is known to this model's tokenizer; write it "
          "in the language and script of its training captions"
        )
    return ids, ids != self._pad

  def prompts(self, names: Sequence[str]) -> Prompts:
    """Class names as prompts for `SLANModel.detect`; "_" is read as a space.

    Raises:
      ValueError: no name, an empty one, one that stands twice, or one that is
        longer than a prompt.
    """
    return write_prompts(names, self.tokenizer, self.detection)

  def decode(self, ids: Tensor) -> list[str]:
    """Texts of token ids [B, N], without special tokens."""
    return self.tokenizer.decode_batch(ids.tolist())


def _read_picture(path: str | Path) -> Image.Image:
  """Decodes a file once its header tells that it is no bomb."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", Image.DecompressionBombWarning)
      with Image.open(path) as file:
        if math.prod(file.size) > MOST_PIXELS:
          raise ValueError(f"{path}: over 67 megapixels")
        return file.convert("RGB")
  except (Image.DecompressionBombError, OSError, SyntaxError) as error:
    raise ValueError(f"{path}: not readable as a picture ({error})") from error
