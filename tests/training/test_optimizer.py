"""Schedule, decay mask and direction against hand-computed numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slan_jax.training.optimizer import (
  decay_mask,
  frozen_mask,
  hold_frozen,
  make_optimizer,
  make_schedule,
)
from tests.training.toy import OPTIONS

PLAIN = dataclasses.replace(OPTIONS, learning_rate=1.0, warmup_steps=4)


def rates(options, total_steps: int) -> list[float]:
  schedule = make_schedule(options, total_steps)
  return [float(schedule(jnp.int32(step))) for step in range(total_steps + 1)]


def test_schedule_rises_then_falls_to_zero():
  expected = [0.2, 0.4, 0.6, 0.8, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0.0]
  np.testing.assert_allclose(rates(PLAIN, 10), expected, atol=1e-6)


def test_schedule_without_warmup_and_with_a_floor():
  options = dataclasses.replace(
    PLAIN, learning_rate=2.0, warmup_steps=0, final_fraction=0.5
  )
  np.testing.assert_allclose(rates(options, 4), [2.0, 1.75, 1.5, 1.25, 1.0])


def test_a_cosine_falls_slowly_at_both_ends():
  options = dataclasses.replace(PLAIN, warmup_steps=0, decay="cosine")
  half = 0.5 + 0.5**1.5  # (1 + cos 45 degrees) / 2
  np.testing.assert_allclose(
    rates(options, 4), [1.0, half, 0.5, 1 - half, 0.0], atol=1e-6
  )
  with pytest.raises(ValueError, match="decay='step': choose one of linear"):
    make_schedule(dataclasses.replace(PLAIN, decay="step"), 4)


def test_warmup_longer_than_the_run_only_rises(caplog):
  np.testing.assert_allclose(rates(PLAIN, 3), [0.2, 0.4, 0.6, 0.8], atol=1e-6)
  assert "3 steps ends within its warm-up of 4" in caplog.text


def test_negative_warmup_is_refused():
  with pytest.raises(ValueError, match="warmup_steps=-1 must be at least 0"):
    make_schedule(dataclasses.replace(PLAIN, warmup_steps=-1), 4)


def test_decay_spares_biases_norms_and_scales_even_when_stacked():
  params = {
    "layers": {
      "attention": {"kernel": np.zeros((3, 4, 4)), "bias": np.zeros((3, 4))},
      "norm": {"scale": np.zeros((3, 4)), "bias": np.zeros((3, 4))},
    },
    "frozen": {"mean": np.zeros((2, 4)), "var": np.zeros((2, 4))},
    "itc_temperature": np.zeros(()),
    "levels": {"log_scale": np.zeros((3, 2))},
    "text": {"word": np.zeros((7, 4))},
    "query": np.zeros((5,)),
  }
  assert decay_mask(params) == {
    "layers": {
      "attention": {"kernel": True, "bias": False},
      "norm": {"scale": False, "bias": False},
    },
    "frozen": {"mean": False, "var": False},
    "itc_temperature": False,
    "levels": {"log_scale": False},
    "text": {"word": True},
    "query": False,
  }


def test_first_direction_by_hand():
  """Clipped gradient (3, 4) / 5; Adam's first direction is its sign."""
  optimizer = make_optimizer(dataclasses.replace(PLAIN, eps=0.1))
  params = {"kernel": jnp.array([[2.0, -2.0]]), "bias": jnp.zeros((1,))}
  gradient = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.zeros((1,))}
  direction, _ = optimizer.update(gradient, optimizer.init(params), params)
  # m/(sqrt(v) + eps) + decay * p, with m = g and v = g^2 after correction
  expected = [[0.6 / 0.7 + 0.01 * 2.0, 0.8 / 0.9 - 0.01 * 2.0]]
  np.testing.assert_allclose(direction["kernel"], expected, rtol=1e-5)
  np.testing.assert_array_equal(direction["bias"], [0.0])


def test_frozen_parameters_have_no_direction_and_no_part_in_the_norm():
  options = dataclasses.replace(PLAIN, eps=0.1, frozen=("^slan/detector/",))
  params = {
    "slan": {
      "detector": {"kernel": jnp.array([[2.0, -2.0]])},
      "head": {"kernel": jnp.array([[2.0, -2.0]])},
    }
  }
  gradient = {
    "slan": {
      "detector": {"kernel": jnp.array([[300.0, 400.0]])},
      "head": {"kernel": jnp.array([[3.0, 4.0]])},
    }
  }
  optimizer = make_optimizer(options)
  direction, state = optimizer.update(gradient, optimizer.init(params), params)
  np.testing.assert_array_equal(direction["slan"]["detector"]["kernel"], 0.0)
  # As in the test above: the frozen gradient did not shorten this one.
  expected = [[0.6 / 0.7 + 0.01 * 2.0, 0.8 / 0.9 - 0.01 * 2.0]]
  head = direction["slan"]["head"]["kernel"]
  np.testing.assert_allclose(head, expected, rtol=1e-5)
  direction, _ = optimizer.update(gradient, state, params)
  np.testing.assert_array_equal(direction["slan"]["detector"]["kernel"], 0.0)


def test_no_gradient_is_made_of_frozen_parameters():
  params = {"slan": {"detector": jnp.float32(2.0), "head": jnp.float32(3.0)}}
  held = hold_frozen(params, ("^slan/detector$",))

  def loss(params):
    slan = held(params)["slan"]
    return slan["detector"] * slan["head"]

  value, gradient = jax.value_and_grad(loss)(params)
  assert value == 6.0
  assert gradient == {"slan": {"detector": 0.0, "head": 2.0}}


def test_frozen_paths_are_found_or_named():
  params = {"slan": {"detector": {"bias": 0.0}, "text": {"word": 0.0}}}
  assert frozen_mask(params, ("detector", "absent|word$")) == {
    "slan": {"detector": {"bias": True}, "text": {"word": True}}
  }
  with pytest.raises(ValueError, match=r"'detectr' is .* slan/detector, slan/"):
    frozen_mask(params, ("detector", "detectr"))
  with pytest.raises(ValueError, match=r"optimizer.frozen: '\('"):
    frozen_mask(params, ("(",))
