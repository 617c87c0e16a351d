"""The cache changes how fast the decoder writes, never what."""

import numpy as np

from benchmarks import generate
from slan_jax.models.slan import Slan
from tests.slan_torch import pair


def test_writing_with_a_cache_equals_reading_all_anew():
  cfg = pair.config(
    "scenes",
    model__text__vocab_size=12,
    model__text__layers=1,
    model__adaptor__levels=1,
    model__backbone__name="resnet_tiny",
  )
  params, images = pair.params(cfg, seed=3), pair.inputs(cfg)[0]
  model = Slan(cfg)
  ours = generate.searching(model, 1, longest=6)(params, images).tokens
  theirs = generate.without_cache(model, longest=6)(params, images)
  np.testing.assert_array_equal(ours, theirs)
  assert len(np.unique(ours, axis=0)) > 1  # the images do tell


def test_tokens_per_second_with_the_encoder_and_without():
  found = generate.rates({"look": 80.0, "greedy": 100.0, "anew": 240.0}, 320)
  assert found == {
    "look_ms": 80.0,
    "tokens_per_second": {"greedy": 3200, "anew": 1333},
    "writing_alone": {"greedy": 16000, "anew": 2000},
  }
