"""Parameter totals against the paper's tables."""

import pytest

from configs import pretrain as configs
from slan_jax.models import config
from slan_jax.tasks import budget
from slan_jax.tasks.config import Objective
from tests.models.small import build


@pytest.mark.parametrize(
  ("name", "millions"),
  [("resnet50", 322), ("vit_b", 383), ("vit_l", 601), ("vit_h", 929)],
)
def test_totals_are_the_papers(name, millions):
  """Tables 4 and 7: within half a million, the vocabulary being BERT's."""
  values = configs.get_config(name)
  with values.unlocked():
    values.model.text.vocab_size = 30_522
  plain = values.to_dict()
  cfg = build(config.Slan, plain["model"])
  objective = build(Objective, plain["objective"])
  found = budget.parameters_by_part(cfg, objective, 32)
  assert abs(sum(found.values()) / 1e6 - millions) < 0.5
  assert found["adaptor"] == 6  # p_w and p_h of three levels: Eq. 1 has none
