#!/usr/bin/env bash
# Trains the rows of configs/ablations.py with several seeds and compares them:
#   launch/ablations.sh --tables 5,6 --seeds 3 --steps 200 [--jobs N]
#     [--budget MINUTES] [--data DIR] [--detector PATH] [--output DIR]
# Needs `make setup`, or PYTHON=... with the package installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
if ! command -v "$python" >/dev/null; then
  echo "$0: no $python; run 'make setup' in $root first" >&2
  exit 2
fi
# Large arrays are freed and asked for again at every step: keep the pages.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
# exec: signals reach the job itself.
exec "$python" -m slan_jax.jobs.ablate --config "$root/configs/ablations.py" "$@"
