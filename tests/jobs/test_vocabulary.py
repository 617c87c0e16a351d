"""The vocabulary of configurations that name no data."""

import pytest

from configs import finetune
from slan_jax.jobs import catalog
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import to_dataclass
from slan_jax.jobs.vocabulary import BertWords, complete


def test_every_word_is_a_token_between_marks():
  ids, mask, cut = BertWords(6)(["a red ring", "one two three four five"])
  assert ids.tolist() == [
    [101, 100, 100, 100, 102, 0],
    [101, 100, 100, 100, 100, 102],
  ]
  assert mask.sum(1).tolist() == [5, 6] and cut.tolist() == [False, True]


@pytest.mark.parametrize("name", ["retrieval", "captioning", "vqa", "nlvr2"])
def test_tasks_are_planned_without_data(name):
  config = finetune.get_config(name)
  with config.unlocked():
    config.data.dir = ""
  experiment, words = complete(to_dataclass(config.to_dict(), Experiment))
  assert experiment.model.text.vocab_size == 30_522
  task = catalog.make_task(experiment, words)
  rows = {leaf.shape[0] for leaf in task.batch_spec.values()}
  assert rows == {experiment.batch_size}
