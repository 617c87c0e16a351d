"""Fine-tuning: every task on every model, without copies."""

import pytest

from configs import finetune, pretrain
from slan_jax.jobs.catalog import CATALOG
from slan_jax.jobs.experiment import Experiment
from slan_jax.jobs.typed import to_dataclass


@pytest.mark.parametrize("task", finetune.TASKS)
@pytest.mark.parametrize("name", ["vit_l", "vit_h", "scenes"])
def test_a_task_is_the_model_of_its_name_with_the_recipe(task, name):
  values = finetune.get_config(f"{task},{name}")
  plain = pretrain.get_config(name)
  assert values.task == task and CATALOG[task].maker
  experiment = to_dataclass(values.to_dict(), Experiment)
  assert experiment.model.backbone.name == plain.model.backbone.name
  assert experiment.model.width == plain.model.width
  tuned = task in ("nlvr2", "detection", "grounding")
  assert (experiment.objective.mlm == 0.0) != tuned
  small = name == "scenes"
  assert (experiment.model.image_size >= 378) != small
  stride = experiment.model.backbone.row.stride
  assert experiment.model.image_size % stride == 0
  assert experiment.optimizer.decay == "cosine"
  assert experiment.total_steps < plain.total_steps


def test_boxes_stay_where_they_are():
  """RandAugment would move pictures and not their boxes."""
  for task in ("detection", "grounding"):
    for name in ("vit_b", "scenes"):
      values = finetune.get_config(f"{task},{name}")
      assert tuple(values.data.randaugment) == (0, 0)
      assert values.localisation.top == 0  # every query


def test_options_reach_the_model():
  literal = finetune.get_config("retrieval,scenes_hard,preset=paper")
  assert literal.model.image_size == 128 and not literal.model.word_map.enabled
  assert finetune.get_config("retrieval,preset=paper").model.image_size == 64
  assert finetune.get_config("retrieval").objective.image_targets


def test_misspelt_tasks_are_refused():
  with pytest.raises(ValueError, match="unknown task 'retrival'; choose"):
    finetune.get_config("retrival")
  with pytest.raises(ValueError, match="unknown name 'scene'"):
    finetune.get_config("retrieval,scene")
