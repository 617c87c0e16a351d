"""Source of questions about scenes, as VQA v2 asks about photographs."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from data.drawn import Drawn
from data.grammar import word_classes
from data.parts import part_features, question_fields
from data.row import QuestionRow
from data.scene_questions import Question, ask, votes
from data.scene_record import LEVELS, draft, scene_record
from data.source import Example

_LEVEL = "scenes"


class ScenesVqa(Drawn):
  """Pictures of `scenes`, the first of each split, with questions."""

  per_shard: ClassVar[int] = 16
  chunk: ClassVar[int] = 250  # counts are balanced within
  files: ClassVar[tuple[str, ...]] = ("word_classes.json", "answers.json")
  sizes: ClassVar[dict[str, int]] = {"train": 8_000, "val": 250, "test": 500}

  def read(self, split: str, item: Any) -> Iterator[Example]:
    rng = random.Random(f"votes/{self._seed}/{split}/{item[0]}")
    for number, asked in enumerate(self._asked(split, *item), item[0]):
      scene = scene_record(_LEVEL, self._seed, split, number)
      rows = [
        QuestionRow(f"{scene.name}-{place}", q.text, q.kind, votes(rng, q))
        for place, q in enumerate(asked)
      ]
      yield Example(
        scene.name,
        scene.image,
        [],
        size=(scene.side, scene.side),
        extra=question_fields(rows),
        captionless=True,
      )

  def _asked(self, split: str, start: int, stop: int) -> list[list[Question]]:
    rng = random.Random(f"questions/{self._seed}/{split}/{start}")
    level = LEVELS[_LEVEL]
    return ask(
      rng,
      [draft(level, self._seed, split, n)[0] for n in range(start, stop)],
    )

  def fields(self) -> dict[str, Any]:
    return part_features(("questions",))

  def texts(self) -> dict[str, str]:
    """Words that exclude each other, and the answers to rank.

    The answers are the right ones of `train`, most frequent first.
    """
    counts = Counter(
      question.answer
      for split, item in self.items()
      if split == "train"
      for asked in self._asked(split, *item)
      for question in asked
    )
    ranked = sorted(counts, key=lambda answer: (-counts[answer], answer))
    contents = (
      json.dumps(word_classes(), indent=2) + "\n",
      json.dumps(ranked, indent=0) + "\n",
    )
    return dict(zip(self.files, contents))
