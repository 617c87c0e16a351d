"""The vocabulary of an experiment that is only counted or planned."""

import dataclasses
from typing import NamedTuple

from slan_jax.input.text import TextEncoder
from slan_jax.jobs.experiment import Experiment, read_tokenizer

# Words of bert-base-uncased, the paper's text encoder: what a configuration
# that names no data set is counted with.
BERT_WORDS = 30_522


class BertWords(NamedTuple):
  """What tasks ask of a tokenizer, where there is none."""

  vocab_size: int = BERT_WORDS
  mask_id: int = 103
  function_ids: tuple[int, ...] = ()


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
  return dataclasses.replace(experiment, model=model), BertWords()
