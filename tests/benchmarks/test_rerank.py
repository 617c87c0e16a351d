"""What the comparison of re-ranking checks before it gives a number."""

import numpy as np
import pytest

from benchmarks import rerank


def test_rankings_must_agree_but_for_near_ties():
  first = np.array([[1.0, 2.0, 3.0, 3.00001]])
  rerank.check_ranking(first, first + 1e-5)
  swapped = first[:, [0, 1, 3, 2]]  # by less than float32 is trusted for
  rerank.check_ranking(first, swapped)
  with pytest.raises(SystemExit, match="log odds differ by"):
    rerank.check_ranking(first, first[:, [1, 0, 2, 3]])
  with pytest.raises(SystemExit, match="log odds differ by nan"):
    rerank.check_ranking(first, np.full_like(first, np.nan))


def test_both_ways_count_the_same_pairs(monkeypatch):
  shape = rerank.Shape("scenes", 3, 5, 4)
  cfg = rerank.model_of("tiny", shape)
  inputs = rerank.make_inputs(cfg, shape)

  def whole_model(model):
    return lambda params, image, ids, mask: (
      params * image.mean((1, 2, 3)) + (ids * mask).sum(1)
    )

  monkeypatch.setattr(rerank, "whole_model", whole_model)
  monkeypatch.setattr(
    rerank,
    "predictions",
    lambda model: {
      "encode_image": lambda params, image: image.mean((1, 2, 3)),
      "encode_text": lambda params, ids, mask: (ids * mask).sum(1),
      "itm": lambda params, images, texts: params * images + texts,
    },
  )
  plain = rerank.straightforward(None, 2.0, inputs, shape)
  for cache in (0, 2**20):
    found = rerank.ours(None, 2.0, inputs, shape, cache)
    np.testing.assert_allclose(found, plain, rtol=1e-5)
