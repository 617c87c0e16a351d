#!/usr/bin/env bash
# Runs a command as N processes of one run on this machine:
#   launch/local_hosts.sh N COMMAND...
#   launch/local_hosts.sh 2 slan-train --config configs/pretrain.py:scenes \
#     --config.mesh.cpu_devices=1 --workdir runs/two
# Each process gets --distributed and meets the others at a free port; on CPUs
# they talk through gloo. Lines of output begin with the process's number. When
# one fails the others end too, after $GRACE seconds (60) by force, and this ends
# with the code of the first that failed. SIGTERM and Ctrl-C reach all of them.
set -euo pipefail
if [[ $# -lt 2 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 N COMMAND..." >&2
  exit 2
fi
count=$1
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:$root/.venv/bin
port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
export JAX_COORDINATOR_ADDRESS=127.0.0.1:$port JAX_NUM_PROCESSES=$count

pids=() signalled="" killer=""
for name in TERM INT; do
  # shellcheck disable=SC2064 # the name is to be filled in now
  trap "signalled=$name; kill -s $name "'"${pids[@]}" 2>/dev/null || true' $name
done

set -m # a group for each: a terminal's Ctrl-C comes once, from here
for ((index = 0; index < count; index++)); do
  JAX_PROCESS_ID=$index "$@" --distributed \
    > >(sed -u "s/^/[$index] /") 2> >(sed -u "s/^/[$index] /" >&2) &
  pids[index]=$!
done
set +m

first=0
while ((${#pids[@]})); do
  ended="" code=0
  wait -n -p ended "${pids[@]}" || code=$?
  for index in "${!pids[@]}"; do
    [[ ${pids[index]} == "${ended:-}" ]] || continue # none: a signal came
    unset "pids[index]"
    ((code && !first)) || continue
    first=$code
    [[ $signalled || ${#pids[@]} -eq 0 ]] && continue
    echo "$0: process $index ended with code $code, the others follow" >&2
    (sleep "${GRACE:-60}" && kill -KILL "${pids[@]}") >/dev/null 2>&1 &
    killer=$!
  done
done
if [[ $killer ]]; then kill "$killer" 2>/dev/null || true; fi
exit "$first"
