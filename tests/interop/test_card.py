from configs import finetune, pretrain
from slan_jax.interop.card import model_card


def card(config) -> str:
  return model_card(
    config.to_dict(), [], step=3, config_hash="h", parameters=9, dtype="float32"
  )


def test_a_card_tells_what_the_model_learned_from():
  plain = card(pretrain.get_config("scenes"))
  assert "learned from captions without boxes. Step 3" in plain
  assert "| `task` | `pretrain` |" in plain and "was not trained" in plain
  tuned = card(finetune.get_config("detection"))
  assert "learned from boxes too. Step 3" in tuned
  assert "without boxes" not in tuned
