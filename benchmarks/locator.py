"""What each addition gives to locating: table `locator` with three seeds.

  python -m benchmarks.locator --data runs/data/scenes --output DIR

The job is `slan-ablate --tables locator`, and takes its options; this sets
200 steps, and a budget of 8 hours of wall time, after which no further run
begins. 19 rows and 3 seeds are 57 runs, by estimate of 6 CPU minutes each (a
run of 20 steps took 2.5): 6 CPU hours.
"""

import sys

from slan_jax.jobs import ablate

DEFAULTS = ("--tables=locator", "--seeds=3", "--steps=200", "--budget=480")


def main() -> int:
  """Returns the exit code of `slan-ablate`; what is given comes last."""
  return ablate.main([*DEFAULTS, *sys.argv[1:]])


if __name__ == "__main__":
  sys.exit(main())
