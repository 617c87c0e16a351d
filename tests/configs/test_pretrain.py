import pytest

from configs import base, pretrain
from data.catalog import CATALOG
from data.scene import DEFAULT, HARD


def test_base_is_the_paper_where_it_speaks():
  values = base.get_config()
  adaptor, chosen = values.model.adaptor, values.model.filter
  assert (chosen.top, chosen.threshold) == (10, 0.5)
  assert adaptor.levels == 3 and adaptor.windows == (1.0, 0.5, 0.25)
  assert values.optimizer.learning_rate == 3e-4
  assert values.optimizer.final_fraction == 0.0
  assert values.objective.mask_rate == 0.15


def test_every_addition_is_off_in_the_preset_paper():
  paper = pretrain.get_config("scenes,preset=paper")
  literal = base.get_config()
  for key in pretrain.GROUNDED:
    if not key.startswith("evaluation"):
      first, second = (_read(values, key) for values in (paper, literal))
      assert first == second, key


def _read(values, key):
  for part in key.split("."):
    values = values[part]
  return values


def test_misspelt_names_are_refused():
  with pytest.raises(ValueError, match="unknown name 'scene'"):
    pretrain.get_config("scene")
  with pytest.raises(ValueError, match="preset=papr"):
    pretrain.get_config("scenes,preset=papr")
  with pytest.raises((KeyError, AttributeError)):
    pretrain.get_config("scenes").batchsize = 3


def test_the_longest_hard_caption_fits():
  values = pretrain.get_config("scenes_hard")
  words = HARD.longest + 2  # [CLS] and [SEP]
  assert values.text.max_length == words <= values.model.text.max_positions
  assert values.model.image_size == HARD.side
  # One phrase per object and one for an opening's words.
  assert values.model.word_map.phrases > HARD.most
  easy = pretrain.get_config("scenes")
  assert easy.model.image_size == DEFAULT.side
  assert easy.model.word_map.phrases > DEFAULT.most
  assert easy.text.max_length >= DEFAULT.longest + 2


def test_the_papers_mixture_is_table_8():
  values = pretrain.get_config("vit_b,mixture=runs/data/")
  first = ("coco_captions", "runs/data/coco_captions", 113.0)
  assert values.data.mixture[0] == first
  assert values.data.dir == first[1]
  assert {name for name, _, _ in values.data.mixture} <= CATALOG.keys()
  assert sum(weight for _, _, weight in values.data.mixture) == 14_073
  assert pretrain.get_config("vit_b").data.mixture == ()
  with pytest.raises(ValueError, match="cannot read 'mixture='"):
    pretrain.get_config("vit_b,mixture=")


def test_full_sizes_split_their_state_and_keep_their_images():
  for name in pretrain.FULL:
    values = pretrain.get_config(name)
    assert (values.mesh.data, values.mesh.fsdp) == (2, -1)
    assert values.objective.negative_pool == values.batch_size
    assert not values.objective.hard_images
  assert pretrain.get_config("scenes").objective.hard_images
