"""The cache changes how fast the decoder writes, never what."""

import argparse

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


def test_tokens_per_second(monkeypatch):
  clock = iter([0.0, 2.0, 0.0, 1.0, 0.0, 4.0])
  monkeypatch.setattr(generate.time, "perf_counter", lambda: next(clock))
  options = argparse.Namespace(images=3, longest=4, repeats=3)
  calls = []
  found = generate.tokens_per_second(
    lambda *inputs: calls.append(inputs) or np.zeros(1), 1, 2, options
  )
  assert found == 6.0 and calls == [(1, 2)] * 4  # the median; one warms up
