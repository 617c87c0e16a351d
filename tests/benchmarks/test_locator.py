"""The locator benchmark is the ablation job with other defaults."""

import sys

from benchmarks import locator
from slan_jax.jobs import ablate


def test_defaults_and_what_is_given(monkeypatch):
  seen = []
  monkeypatch.setattr(ablate, "main", lambda given: seen.append(given) or 3)
  monkeypatch.setattr(sys, "argv", ["locator", "--seeds=1", "--output=o"])
  assert locator.main() == 3
  options = ablate.parser().parse_args(seen[0])
  assert (options.tables, options.seeds, options.steps) == ("locator", 1, 200)
  assert options.budget == 480
