"""The step: stages, guard, EMA, randomness, and a single compilation."""

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.training.step import stage_of
from tests.training.toy import (
  OPTIONS,
  assert_trees_equal,
  build,
  toy_batch,
  toy_task,
)


def test_stage_of_a_step():
  assert [stage_of(s, (2, 4)) for s in range(6)] == [0, 0, 1, 1, 2, 2]
  assert stage_of(9, ()) == 0


def test_each_stage_is_compiled_once_and_before_it_begins():
  _, _, state, step = build(toy_task(stages=(2,)))
  traces = [step.jaxpr(stage) for stage in (0, 1)]
  step.compile(0)
  names, rates = [], []
  for index in range(4):
    state, metrics = step(state, toy_batch(index), index)
    names.append("spread" in metrics)
    rates.append(float(metrics["learning_rate"][0]))
  assert names == [False, False, True, True]
  expected = OPTIONS.learning_rate * np.array([1 / 3, 2 / 3, 1.0, 17 / 18])
  np.testing.assert_allclose(rates, expected, rtol=1e-6)
  assert int(state.step) == 4
  # Neither traced again nor compiled a second time.
  assert all(step.jaxpr(stage) is traces[stage] for stage in (0, 1))
  assert [jitted._cache_size() for jitted in step.jitted] == [0, 0]


def test_without_compiling_ahead_a_stage_compiles_once():
  _, _, state, step = build(toy_task(stages=(2,)))
  for index in range(4):
    state, _ = step(state, toy_batch(index), index)
  assert [jitted._cache_size() for jitted in step.jitted] == [1, 1]


def test_ema_follows_by_hand():
  _, _, state, step = build(toy_task(stages=()))
  before = jax.device_get(state.params["head"]["kernel"])
  np.testing.assert_array_equal(state.ema["head"]["kernel"], before)
  state, _ = step(state, toy_batch(0), 0)
  after = np.asarray(state.params["head"]["kernel"])
  assert np.abs(after - before).max() > 1e-3
  np.testing.assert_allclose(
    state.ema["head"]["kernel"], 0.9 * before + 0.1 * after, atol=1e-6
  )


def test_without_ema_there_is_no_copy():
  _, _, state, step = build(toy_task(stages=()), ema=False)
  state, _ = step(state, toy_batch(0), 0)
  assert state.ema == {}


def test_non_finite_step_changes_nothing_and_is_counted():
  _, _, state, step = build(toy_task())
  state, _ = step(state, toy_batch(0), 0)
  before = jax.tree.map(jnp.copy, state)
  bad = toy_batch(1)
  bad["x"][3, 2] = np.inf
  for expected in (1, 2):
    state, metrics = step(state, bad, 1)
    assert int(state.skipped_in_a_row) == expected
    assert metrics["loss"][1] == 0.0 and metrics["loss"][0] == 0.0
    assert metrics["skipped_in_a_row"][0] == expected
  for name in ("params", "ema", "opt_state", "carry"):
    assert_trees_equal(getattr(state, name), getattr(before, name))
  assert int(state.step) == 3
  state, metrics = step(state, toy_batch(2), 2)
  assert int(state.skipped_in_a_row) == 0 and int(state.skipped_total) == 2
  assert metrics["loss"][1] == 1.0
  assert np.isfinite(jax.device_get(state.params["head"]["kernel"])).all()


def test_each_step_draws_anew_and_each_run_alike():
  task = toy_task(stages=())
  step = build(task)[3]

  def losses(seed: int) -> list[float]:
    state = build(task, seed=seed)[2]
    key = np.array(jax.random.key_data(state.key))
    found = []
    for _ in range(2):
      state, metrics = step(state, toy_batch(0), 0)
      found.append(float(metrics["loss"][0]))
    np.testing.assert_array_equal(key, jax.random.key_data(state.key))
    return found

  assert losses(0) == losses(0)
  assert losses(0) != losses(1)
  assert step.jitted[0]._cache_size() == 1
