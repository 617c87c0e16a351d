"""The measurement of saving counts every part of it."""

from benchmarks.saving import measure


def test_a_save_is_measured():
  found = measure(arrays=2, side=4, saves=1)
  assert {*found} == {"blocked", "blocked_cpu", "behind_cpu"}
  assert 0 < found["blocked_cpu"] <= found["blocked"]
