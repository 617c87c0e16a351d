"""Processes stop together, by a signal that any of them caught."""

import signal

import jax
import numpy as np
import pytest

from slan_jax.training import stop
from slan_jax.training.stop import Stop, listening


@pytest.fixture
def gather(monkeypatch):
  """Two processes; a list of what the other one says, and of what was asked."""
  others, asked = [], []

  def allgather(mine):
    asked.append(mine)
    other = others.pop(0) if others else 0
    if callable(other):
      other = other() or 0
    return np.stack([mine, [other, 9]])

  monkeypatch.setattr(jax, "process_count", lambda: 2)
  monkeypatch.setattr(stop.multihost_utils, "process_allgather", allgather)
  return others, asked


def test_alone_it_stops_at_once():
  with listening() as found:
    assert not found.asked(3)
    signal.raise_signal(signal.SIGTERM)
    assert found.asked(4) and found.signal == signal.SIGTERM


def test_a_signal_of_the_other_process_stops_this_one(gather):
  gather[0].extend([0, signal.SIGINT])
  found = Stop()
  assert not found.asked(0)
  assert found.asked(1) and found.signal == signal.SIGINT


def test_a_signal_during_the_settlement_waits_for_the_next(gather):
  with listening() as found:
    gather[0].append(lambda: signal.raise_signal(signal.SIGTERM))
    assert not found.asked(0)
    assert found.asked(1) and found.signal == signal.SIGTERM


def test_settlements_come_about_every_period(gather, monkeypatch):
  clock = iter(np.arange(0.0, 1000.0, 1.0))  # a second between settlements
  monkeypatch.setattr(stop.time, "monotonic", lambda: next(clock))
  found = Stop()
  assert not any(found.asked(step) for step in range(40))
  # Twice as many steps each time, at most: 1, 1, 2, 4, ...
  assert [int(period) for _, period in gather[1]] == [1, 2, 4, 8, 16, 32]
  found.forget_steps()
  gather[0].append(signal.SIGTERM)
  assert found.asked(3)
