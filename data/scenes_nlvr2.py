"""Source of statements about pairs of scenes, as NLVR2's about photographs."""

import json
import random
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from data.drawing import draw_scene
from data.drawn import Drawn
from data.grammar import word_classes
from data.parts import image_fields, part_features, statement_fields
from data.row import StatementRow
from data.scene import DEFAULT
from data.scene_record import SPLITS, encode
from data.scene_statements import PAIRS, sample_statements
from data.source import Example

_STREAM = 1  # apart from the scenes of the same seed
_BLOCK = 2 * PAIRS  # records of two statements


class ScenesNlvr2(Drawn):
  """Pairs of scenes with a statement that is true or false of them."""

  per_shard: ClassVar[int] = 16
  chunk: ClassVar[int] = 32 * _BLOCK
  files: ClassVar[tuple[str, ...]] = ("word_classes.json",)
  sizes: ClassVar[dict[str, int]] = {"train": 8_000, "val": 400, "test": 1_000}

  def __init__(self, *, seed: int = 0, **sizes: int):
    """See Drawn; sizes are rounded up to whole blocks of statements."""
    super().__init__(seed=seed, **sizes)
    self._sizes = {
      split: -(-size // _BLOCK) * _BLOCK for split, size in self._sizes.items()
    }

  def read(self, split: str, item: Any) -> Iterator[Example]:
    start, stop = item
    for block in range(start // _BLOCK, stop // _BLOCK):
      yield from self._block(split, block)

  def _block(self, split: str, block: int) -> list[Example]:
    place = [self._seed, SPLITS.index(split), block, _STREAM]
    rng = np.random.default_rng(place)
    statements, pairs = sample_statements(rng, DEFAULT)
    size = (DEFAULT.side, DEFAULT.side)
    drawn = [
      [encode(draw_scene(items, DEFAULT, rng)[0]) for items in pair]
      for pair in pairs
    ]
    made = []
    for number, statement in enumerate(statements):
      group = f"{split}-{2 * block + number:06d}"
      for which, (pair, (left, right)) in enumerate(zip(pairs, drawn)):
        row = StatementRow(statement.text, statement.holds(pair), group)
        more = image_fields([(right, size)])
        made.append(
          Example(
            f"{group}-{which}",
            left,
            [],
            size=size,
            extra=statement_fields([row]) | more,
            captionless=True,
          )
        )
    random.Random(int(rng.integers(2**63))).shuffle(made)
    return made

  def fields(self) -> dict[str, Any]:
    return part_features(("statements", "more_images"))

  def texts(self) -> dict[str, str]:
    """Words that exclude each other."""
    return {self.files[0]: json.dumps(word_classes(), indent=2) + "\n"}
