"""What the input wing is told: of training batches and evaluation splits."""

import dataclasses
import math
import re


@dataclasses.dataclass(frozen=True)
class InputConfig:
  """Everything a training batch depends on, besides the position.

  Attributes:
    split: Split of the prepared directory.
    tokenizer: "dataset", a directory or a hub name.
    word_classes: "dataset", "builtin" or a JSON file.
    image_size: S, pixels of the square picture.
    max_length: N, tokens of a text with [CLS] and [SEP].
    batch_size: Examples of one step over all processes.
    seed: Of order, augmentation, captions and negatives.
    crop_scale: Least and largest share of the area that a crop covers.
    reduced_decode: Whether large JPEGs are decoded at 1/2, 1/4 or 1/8.
    flip: Whether half of the pictures are mirrored, with their captions.
    randaugment: Number of operations and magnitude of 10; (0, 0) = off.
    caption: "random" draws one at each visit, "first" takes the first.
    hard_negatives: H, captions per picture with one word swapped.
    threads: Threads of this process that prepare batches.
    prefetch: Batches prepared ahead.
    rows: Rows of each batch that this process prepares, in ascending order;
      () = all of them.
    mixture: Name, directory and weight of each source that takes the place of
      the prepared directory; () = that directory alone.
  """

  split: str
  tokenizer: str
  word_classes: str
  image_size: int
  max_length: int
  batch_size: int
  seed: int
  crop_scale: tuple[float, float]
  reduced_decode: bool
  flip: bool
  randaugment: tuple[int, int]
  caption: str
  hard_negatives: int
  threads: int
  prefetch: int
  rows: tuple[int, ...] = ()
  mixture: tuple[tuple[str, str, float], ...] = ()

  def __post_init__(self):
    low, high = self.crop_scale
    self._require(0 < low <= high <= 1, "crop_scale", "0 < least <= most <= 1")
    self._require(self.image_size >= 8, "image_size", "at least 8 pixels")
    self._require(self.batch_size >= 1, "batch_size", "at least 1")
    self._require(self.hard_negatives >= 0, "hard_negatives", "0 or more")
    self._require(self.threads >= 1, "threads", "at least 1")
    self._require(self.prefetch >= 1, "prefetch", "at least 1")
    number, magnitude = self.randaugment
    good = number >= 0 and 0 <= magnitude <= 10
    self._require(good, "randaugment", "(0 or more, 0 to 10)")
    choices = ("random", "first")
    self._require(self.caption in choices, "caption", "'random' or 'first'")
    names = [name for name, _, _ in self.mixture]
    unique = len({*names}) == len(names)
    good = all(re.fullmatch(r"\w+", name) for name in names)
    good &= all(math.isfinite(w) and w > 0 for _, _, w in self.mixture)
    self._require(
      unique and good,
      "mixture",
      "(name, directory, weight) with names of letters, digits and _, each "
      "once, and weights above 0",
    )
    ascending = list(self.rows) == sorted({*self.rows})
    good = ascending and {*self.rows} <= {*range(self.batch_size)}
    self._require(good, "rows", f"ascending, below {self.batch_size}")

  def _require(self, good: bool, name: str, expected: str) -> None:
    if not good:
      raise ValueError(
        f"{name} is {getattr(self, name)!r}; expected {expected}"
      )


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """What an evaluation split depends on, besides the directory.

  Attributes:
    tokenizer: "dataset", a directory or a hub name.
    image_size: S, pixels of the square picture.
    max_length: N, tokens of a text with [CLS] and [SEP].
  """

  tokenizer: str
  image_size: int
  max_length: int
