"""Sources of pictures that this project draws: how many, and which."""

import argparse
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from tokenizers import Tokenizer

from data import scene_questions, scene_statements
from data.grammar import grammar_words
from data.source import Source, at_least
from data.vocabulary import words_tokenizer


class Drawn(Source):
  """Base of the drawn data sets: numbers in, records out.

  Attributes:
    sizes: Records of each split unless an option says otherwise.
    chunk: Numbers of an item of `train`.
  """

  sizes: ClassVar[dict[str, int]]
  chunk: ClassVar[int] = 64

  def __init__(self, *, seed: int = 0, **sizes: int):
    """Chooses how many records to make.

    Args:
      seed: Seed of the whole data set.
      **sizes: `train_size`, `val_size`, `test_size`: records to train on, of
        the gallery scored during training, and of the final one.
    """
    super().__init__()
    self._sizes = {
      split: sizes.pop(f"{split}_size", size)
      for split, size in self.sizes.items()
    }
    if sizes:
      raise TypeError(f"unknown sizes: {sorted(sizes)}")
    self._seed = seed

  @classmethod
  def add_options(cls, parser: argparse.ArgumentParser) -> None:
    for split, size in cls.sizes.items():
      parser.add_argument(f"--{split}-size", type=at_least(1), default=size)
    parser.add_argument("--seed", type=at_least(0), default=0)

  @classmethod
  def from_options(cls, options: argparse.Namespace) -> Self:
    sizes = {f"{split}_size" for split in cls.sizes}
    return cls(
      seed=options.seed,
      **{name: size for name, size in vars(options).items() if name in sizes},
    )

  def items(self) -> Iterator[tuple[str, Any]]:
    """Ranges of numbers; a gallery is one, for its records must differ."""
    for split, size in self._sizes.items():
      chunk = self.chunk if split == "train" else size
      for start in range(0, size, chunk):
        yield split, [start, min(start + chunk, size)]

  def tokenizer(self) -> Tokenizer:
    """The words of captions, questions and statements; others by letters.

    It is the same for all drawn data sets, so that a model trained on one of
    them reads the others.
    """
    more = *scene_questions.WORDS, *scene_statements.WORDS
    return words_tokenizer([*grammar_words(), *more])
