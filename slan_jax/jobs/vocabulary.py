"""The vocabulary of an experiment that is only counted or planned."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from slan_jax.input.text import Encoded, TextEncoder
from slan_jax.jobs.experiment import Experiment, read_tokenizer

# Words of bert-base-uncased, the paper's text encoder: what a configuration
# that names no data set is counted with.
BERT_WORDS = 30_522


class BertWords(NamedTuple):
  """What tasks ask of a tokenizer, where there is none.

  Texts get their lengths from it, one token a word, and no meaning.
  """

  max_length: int
  vocab_size: int = BERT_WORDS
  pad_id: int = 0
  unk_id: int = 100
  cls_id: int = 101
  sep_id: int = 102
  mask_id: int = 103
  function_ids: tuple[int, ...] = ()

  def __call__(self, texts: Sequence[str]) -> Encoded:
    """Every word as [UNK], between [CLS] and [SEP]."""
    words = np.array([len(text.split()) for text in texts])
    last = np.minimum(words, self.max_length - 2)[:, None] + 1
    place = np.arange(self.max_length)[None]
    ids = np.where(place < last, self.unk_id, self.pad_id)
    ids = np.where(place == last, self.sep_id, ids)
    ids[:, 0] = self.cls_id
    mask = place <= last
    return Encoded(ids.astype(np.int32), mask, words > self.max_length - 2)


def complete(experiment: Experiment) -> tuple[Experiment, TextEncoder]:
  """The experiment with its vocabulary, BERT's when no data set is named.

  Raises:
    InputError: the configured tokenizer cannot be loaded.
  """
  model, text = experiment.model, experiment.text
  named = text.tokenizer != "dataset" or experiment.data.dir
  if named and model.text.vocab_size == -1:
    return read_tokenizer(experiment)
  if model.text.vocab_size == -1:
    words = dataclasses.replace(model.text, vocab_size=BERT_WORDS)
    model = dataclasses.replace(model, text=words)
  return dataclasses.replace(experiment, model=model), BertWords(
    text.max_length
  )
