"""Splits of the input wing as evaluation takes them."""

from collections.abc import Sequence

import numpy as np

from slan_jax.evaluation.counterfactual import Pairs
from slan_jax.evaluation.grounding import Examples
from slan_jax.evaluation.phrase_recall import Truth
from slan_jax.evaluation.snapshot import caption_words
from slan_jax.input.counterfactual import CounterfactualSplit
from slan_jax.input.gallery import Gallery
from slan_jax.input.grounding import GroundingSplit

WORDS = 4  # words drawn for a caption without annotated phrases


def phrase_examples(split: GroundingSplit, rows: Sequence[int]) -> Examples:
  """Rows of a split whose phrases are annotated, as evaluation takes them."""
  chosen = [split.examples[row] for row in rows]
  return Examples(
    split.images,
    *(
      array[rows]
      for array in (split.image, split.tokens, split.mask, split.phrase_tokens)
    ),
    [
      [Truth(p.boxes, p.size, p.objects, p.kinds) for p in e.phrases]
      for e in chosen
    ],
  )


def word_examples(
  gallery: Gallery, count: int
) -> tuple[Examples, list[str], list[list[str]]]:
  """First images with their first captions; a few words stand for phrases.

  Returns:
    The examples without any truth, their captions and the words.
  """
  _, rows = np.unique(gallery.text_image, return_index=True)
  rows = rows[:count]
  found = [
    caption_words(gallery.encoder.pieces(ids), limit=WORDS)
    for ids in gallery.tokens[rows]
  ]
  nothing = Truth(np.zeros((0, 4), np.float32), "", 0)
  examples = Examples(
    gallery.images,
    gallery.text_image[rows],
    gallery.tokens[rows],
    gallery.mask[rows],
    np.stack([tokens for _, tokens in found]),
    [[nothing] * len(words) for words, _ in found],
  )
  captions = [gallery.texts[row] for row in rows]
  return examples, captions, [words for words, _ in found]


def pair_examples(found: CounterfactualSplit) -> Pairs:
  """All counterfactual pairs of a split, as evaluation takes them."""
  rows = range(len(found.split.examples))
  return Pairs(phrase_examples(found.split, rows), found.kinds)
