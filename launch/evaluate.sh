#!/usr/bin/env bash
# Scores a run on several tasks, one after the other, and draws its pictures:
#   launch/evaluate.sh WORKDIR [--tasks retrieval,grounding] [--checkpoint best]
#     [--hosts N] [--dry-run] [-- FLAGS OF SLAN-EVAL]
# Scores lie in WORKDIR/eval/TASK; what was scored before is not again. With
# --hosts N processes of this machine share the work. A task that fails does not
# keep the others from being scored; the first failure's code is the last word.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:$root/.venv/bin

fail() {
  echo "$0: $1; see the head of this file" >&2
  exit 2
}

directory=${1:-}
[[ $directory && $directory != -* ]] || fail "expected a work directory"
shift
tasks=retrieval,grounding checkpoint=last hosts=1 dry="" more=()
while (($#)); do
  case $1 in
    --tasks) tasks=${2:?} && shift ;;
    --checkpoint) checkpoint=${2:?} && shift ;;
    --hosts) hosts=${2:?} && shift ;;
    --dry-run) dry=1 ;;
    --) shift && more=("$@") && break ;;
    *) fail "unknown argument $1" ;;
  esac
  shift
done
several=()
if [[ $hosts != 1 ]]; then several=("$root/launch/local_hosts.sh" "$hosts"); fi

run() {
  if [[ $dry ]]; then printf '%q ' "$@" && echo; else "$@"; fi
}

first=0
for task in ${tasks//,/ }; do
  code=0
  run ${several[@]+"${several[@]}"} slan-eval "--workdir=$directory" \
    "--task=$task" "--checkpoint=$checkpoint" \
    "--output=$directory/eval/$task" ${more[@]+"${more[@]}"} || code=$?
  if ((code && !first)); then first=$code; fi
done
code=0
run slan-report "--workdir=$directory" || code=$?
exit $((first ? first : code))
