"""The model card says what a model learned, and what it never did."""

import pytest

from configs import finetune, pretrain
from slan_jax.interop.card import model_card


def card(config, boxes) -> str:
  return model_card(
    config.to_dict(), [], boxes=boxes, step=3, config_hash="h", parameters=9,
    dtype="float32",
  )  # fmt: skip


@pytest.mark.parametrize(
  ("boxes", "told"),
  [
    (False, "learned from captions without boxes. Step 3"),
    (True, "learned from boxes too. Step 3"),
    (None, "may have seen boxes. Step 3"),
  ],
)
def test_a_card_tells_what_the_model_learned_from(boxes, told):
  text = card(pretrain.get_config("scenes"), boxes)
  assert told in " ".join(text.split())
  assert ("without boxes" in text) == (boxes is False)
  assert "| `task` | `pretrain` |" in text


@pytest.mark.parametrize(
  ("task", "told"),
  [
    ("detection", "decoder was not trained"),
    ("vqa", "decoder learned answers alone"),
    ("captioning", None),
  ],
)
def test_a_card_tells_what_the_decoder_writes(task, told):
  text = card(finetune.get_config(task), False)
  assert told in text if told else "Limits" not in text
