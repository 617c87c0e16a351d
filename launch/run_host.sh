#!/usr/bin/env bash
# Runs a job on this host of several, with --distributed, detached from whoever
# started it (launch/tpu_pod.sh does, on every host):
#   launch/run_host.sh COMMAND...
# Leaves slan.log, slan.pid and, at the end, slan.exit with the exit code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PWD/.venv/bin:$PATH
# Large arrays are freed and asked for again at every step: keep the pages.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
rm -f slan.exit
"$@" --distributed >>slan.log 2>&1 </dev/null &
echo $! >slan.pid
code=0
wait $! || code=$?
echo "$code" >slan.exit
