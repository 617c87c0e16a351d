"""Snapshots are saved whole, loaded in order, and named when damaged."""

import numpy as np
import pytest

from slan_jax.evaluation import snapshot


def arrays(step=0):
  generator = np.random.default_rng(step)
  low = generator.uniform(0, 0.5, (2, 3, 4, 2))
  boxes = np.concatenate([low, low + 0.4], axis=-1)
  return {
    "step": np.array(step),
    "image": generator.integers(0, 256, (2, 16, 16, 3), np.uint8),
    "caption": np.array(["a red circle and a red circle", "a blue star"]),
    "phrase": np.array([["a red circle", "a red circle"], ["a blue star", ""]]),
    "phrase_scores": generator.random((2, 2, 3, 4)),
    "boxes": boxes,
    "region_mask": np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool),
    "proposals": boxes[:, 0],
    "proposal_score": generator.random((2, 4)),
    "truth": np.array([boxes[0, 0, :2], np.full((2, 4), np.nan)]),
  }


def test_round_trip_in_the_order_of_steps(tmp_path):
  for step in (100, 0, 20):
    snapshot.save_snapshot(tmp_path, arrays(step))
  found = snapshot.load_snapshots(tmp_path)
  assert [int(x["step"]) for x in found] == [0, 20, 100]
  for name, value in arrays(20).items():
    np.testing.assert_array_equal(found[1][name], value)
  assert snapshot.load_snapshots(tmp_path / "none") == []


def test_bad_snapshots_are_named(tmp_path):
  with pytest.raises(ValueError, match=r"missing: \['truth'\]"):
    snapshot.save_snapshot(
      tmp_path, {k: v for k, v in arrays().items() if k != "truth"}
    )
  with pytest.raises(ValueError, match="boxes needs 4 axes"):
    snapshot.save_snapshot(tmp_path, arrays() | {"boxes": np.zeros(4)})
  path = snapshot.save_snapshot(tmp_path, arrays(3))
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(ValueError, match=r"3\.npz: damaged"):
    snapshot.load_snapshots(tmp_path)


def test_words_of_a_caption_without_phrases():
  caption = "[CLS] a skate ##board ##er jumps , on the ramp [SEP] [PAD]"
  pieces = caption.split(" ")
  words, tokens = snapshot.caption_words(pieces, limit=4)
  assert words == ["skateboarder", "jumps", "ramp"]
  np.testing.assert_array_equal(np.flatnonzero(tokens[0]), [2, 3, 4])
  assert tokens.shape == (4, 12) and not tokens[3].any()
  assert snapshot.caption_words(pieces, limit=1)[0] == ["skateboarder"]
