import jax
import numpy as np

from slan_jax.ops import corrupt as ops

mask_tokens = jax.jit(ops.mask_tokens)

MASK, VOCAB = 4, 1000
IDS = np.random.default_rng(6).integers(5, VOCAB, (200, 100), np.int32)
MASKABLE = np.arange(100)[None, :].repeat(200, axis=0) % 4 != 0


def corrupt(key, *, rate=0.15, maskable=MASKABLE):
  outputs = mask_tokens(
    IDS,
    maskable,
    key=jax.random.key(key),
    rate=rate,
    mask_id=MASK,
    vocab_size=VOCAB,
  )
  return jax.device_get(outputs)


def test_only_chosen_tokens_change():
  corrupted, targets = corrupt(0)
  assert not (targets & ~MASKABLE).any()
  np.testing.assert_array_equal(corrupted[~targets], IDS[~targets])
  assert corrupted.dtype == IDS.dtype
  assert ((corrupted >= 0) & (corrupted < VOCAB)).all()


def test_shares_are_80_10_10_of_15_percent():
  """15 000 maskable tokens: five standard deviations are 1.5 and 4 points."""
  corrupted, targets = corrupt(1)
  chosen = float(targets.sum() / MASKABLE.sum())
  np.testing.assert_allclose(chosen, 0.15, atol=0.015)
  masked = float((corrupted[targets] == MASK).mean())
  kept = float((corrupted[targets] == IDS[targets]).mean())
  np.testing.assert_allclose([masked, kept], [0.8, 0.1], atol=0.045)


def test_key_decides():
  np.testing.assert_array_equal(corrupt(2)[0], corrupt(2)[0])
  assert (corrupt(2)[1] != corrupt(3)[1]).any()


def test_extreme_rates():
  assert not corrupt(4, rate=0.0)[1].any()
  np.testing.assert_array_equal(corrupt(4, rate=1.0)[1], MASKABLE)
  nothing = np.zeros_like(MASKABLE)
  np.testing.assert_array_equal(corrupt(4, rate=1.0, maskable=nothing)[0], IDS)
